package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tautws/websocket"
)

// A syncBuffer is a log.
type syncBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed at the next Write, if somebody waits for it
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.b.Write(p)
}

// wait returns when the log has part.
func (b *syncBuffer) wait(part string) {
	for {
		b.mu.Lock()
		if strings.Contains(b.b.String(), part) {
			b.mu.Unlock()
			return
		}
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		<-more
	}
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func start(t *testing.T) (s *server, base string, reader *sdk.ManualReader, log *syncBuffer) {
	t.Helper()
	reader, log = sdk.NewManualReader(), new(syncBuffer)
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
	s, err := newServer(meter, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL, reader, log
}

func get(t *testing.T, url string) (body, contentType string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(p), resp.Header.Get("Content-Type")
}

// use opens a connection, has n messages echoed, answers a ping, and closes with a code.
func use(t *testing.T, base string, n, code int) {
	t.Helper()
	d := websocket.Dialer{EnableCompression: true, Compression: websocket.CompressionOptions{ContextTakeover: true}}
	c, _, err := d.Dial("ws"+strings.TrimPrefix(base, "http")+"/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	message := []byte(strings.Repeat("all work and no play; ", 100))
	for i := range n {
		if err := c.WriteMessage(1+i%2, message); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Shutdown(t.Context(), code, ""); err != nil {
		t.Fatal(err)
	}
}

// What happens on connections is in all the places that it is exported to.
func TestExports(t *testing.T) {
	s, base, reader, log := start(t)
	const bytesEach = 22 * 100
	use(t, base, 4, websocket.CloseNormalClosure)
	use(t, base, 2, 4711)
	s.handlers.Wait()

	text, _ := get(t, base+"/metrics")
	value := func(series string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(text)
		if m == nil {
			t.Errorf("/metrics lacks %s", series)
			return ""
		}
		return m[1]
	}
	for series, want := range map[string]string{
		"websocket_connections":                                   "0",
		"websocket_connections_opened_total":                      "2",
		`websocket_connections_closed_total{code="1000"}`:         "1",
		`websocket_connections_closed_total{code="4xxx"}`:         "1",
		`websocket_messages_total{direction="in",type="text"}`:    "3",
		`websocket_messages_total{direction="out",type="binary"}`: "3",
		`websocket_message_bytes_total{direction="in"}`:           fmt.Sprint(6 * bytesEach),
		`websocket_message_bytes_total{direction="out"}`:          fmt.Sprint(6 * bytesEach),
	} {
		if got := value(series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
	for _, direction := range directions {
		var ratio float64
		fmt.Sscan(value(`websocket_compression_ratio{direction="`+direction+`"}`), &ratio)
		if ratio < 5 || ratio > 6*bytesEach {
			t.Errorf("the compression ratio of what goes %s is %v", direction, ratio)
		}
	}

	got := collect(t, reader)
	for series, want := range map[string]float64{
		"websocket.connections":                                                    0,
		"websocket.connections.closed websocket.close.code=1000":                   1,
		"websocket.connections.closed websocket.close.code=4xxx":                   1,
		"websocket.messages websocket.direction=in,websocket.message.type=text":    3,
		"websocket.messages websocket.direction=out,websocket.message.type=binary": 3,
		"websocket.message.bytes websocket.direction=in":                           6 * bytesEach,
		"websocket.message.bytes websocket.direction=out":                          6 * bytesEach,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v, want %v", series, v, want)
		}
	}
	for _, direction := range directions {
		var wire float64
		fmt.Sscan(value(`websocket_wire_bytes_total{direction="`+direction+`"}`), &wire)
		if v := got["websocket.wire.bytes websocket.direction="+direction]; v != wire || v == 0 {
			t.Errorf("%v bytes on the wire for one, %v for the other", wire, v)
		}
		if v := got["websocket.compression.ratio websocket.direction="+direction]; v != 6*bytesEach/wire {
			t.Errorf("a compression ratio of %v, want %v", v, 6*bytesEach/wire)
		}
	}

	for _, part := range []string{"connection opened", "peer=127.0.0.1:", "connection closed", "code=1000", "code=4xxx", "close 4711"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log lacks %q:\n%s", part, log.String())
		}
	}
}

// collect returns the values of OpenTelemetry's instruments by name and attributes.
func collect(t *testing.T, reader sdk.Reader) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	add := func(name string, set attribute.Set, v float64) {
		all[strings.TrimSpace(name+" "+set.Encoded(attribute.DefaultEncoder()))] = v
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Count))
				}
			}
		}
	}
	return all
}

// The round trips of an open connection reach every exporter.
func TestPings(t *testing.T) {
	_, base, reader, log := start(t)
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http")+"/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go c.ReadMessage()
	log.wait("ping answered") // after the other exporters got it
	if n := collect(t, reader)["websocket.ping.duration"]; n != 1 {
		t.Errorf("OpenTelemetry has %v round trips, want 1", n)
	}
	text, _ := get(t, base+"/metrics")
	if !strings.Contains(text, "websocket_ping_seconds_count 1\n") {
		t.Error("/metrics lacks the round trip")
	}
}

// No exporter allocates for a message.
func TestMessageAllocs(t *testing.T) {
	meter := sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader())).Meter("test")
	otel, err := otelTrace(meter)
	if err != nil {
		t.Fatal(err)
	}
	for name, trace := range map[string]*websocket.Trace{
		"Prometheus":    prometheusTrace(prometheus.NewRegistry()),
		"OpenTelemetry": otel,
		"log":           logTrace(slog.Default()),
		"page":          newLive(time.Now()).trace(),
	} {
		if n := testing.AllocsPerRun(100, func() { trace.Message(nil, true, websocket.TextMessage, 100, 20) }); n != 0 {
			t.Errorf("%s: %v allocations for a message", name, n)
		}
	}
}

func TestCloseCode(t *testing.T) {
	for want, err := range map[string]error{
		"1000": &websocket.CloseError{Code: 1000},
		"1006": &websocket.CloseError{Code: 1006},
		"3xxx": &websocket.CloseError{Code: 3999},
		"4xxx": &websocket.CloseError{Code: 4000},
		"1002": &websocket.ProtocolError{Code: 1002},
		"1009": fmt.Errorf("wrapped: %w", websocket.ErrReadLimit),
		"none": net.ErrClosed,
	} {
		if got := closeCode(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// A sample has what happened since the one before.
func TestSamples(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	l := newLive(now)
	trace := l.trace()
	trace.Opened(nil)
	trace.Opened(nil)
	trace.Message(nil, false, websocket.TextMessage, 300, 100)
	trace.Message(nil, true, websocket.TextMessage, 40, 20)
	for i := range 100 {
		trace.Ping(nil, time.Duration(i+1)*time.Millisecond)
	}
	trace.Closed(nil, &websocket.CloseError{Code: 1001})
	_, next := l.since(0)
	l.sample(now.Add(2 * time.Second))
	<-next
	l.sample(now.Add(3 * time.Second))
	samples, _ := l.since(0)
	if len(samples) != 2 {
		t.Fatalf("%d samples, want 2", len(samples))
	}
	want := sample{Time: 1_002_000, Connections: 1, Messages: [2]float64{.5, .5}, Wire: [2]float64{50, 10},
		Ratio: [2]float64{3, 2}, Codes: map[string]int{"1001": 1}}
	got := samples[0]
	if got.RTT == nil || *got.RTT != [2]float64{51, 100} {
		t.Errorf("round trips %v, want 51 and 100 ms", got.RTT)
	}
	if got.RTT = nil; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sample %v, want %v", got, want)
	}
	if second := samples[1]; second.RTT != nil || second.Messages != [2]float64{} || second.Wire != [2]float64{} || second.Ratio != want.Ratio {
		t.Errorf("a silent second is %v", second)
	}
	if rest, _ := l.since(samples[0].Time); len(rest) != 1 {
		t.Errorf("%d samples after the first, want 1", len(rest))
	}
	for range 2 * maxHistory {
		now = now.Add(time.Minute)
		l.sample(now)
	}
	if all, _ := l.since(0); len(all) != maxHistory {
		t.Errorf("%d samples are kept, want %d", len(all), maxHistory)
	}
}

// The page asks for what there is, and gets the samples as they are taken.
func TestPage(t *testing.T) {
	s, base, _, _ := start(t)
	page, contentType := get(t, base+"/")
	if contentType != "text/html; charset=utf-8" {
		t.Errorf("the page is %s", contentType)
	}
	script, _ := get(t, base+"/metrics.js")
	get(t, base+"/metrics.css")
	for _, m := range regexp.MustCompile(`\$\("([^"]+)"\)`).FindAllStringSubmatch(script, -1) {
		if !strings.Contains(page, `id="`+m[1]+`"`) {
			t.Errorf("the script uses #%s, which the page lacks", m[1])
		}
	}
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http")+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 3 {
		s.live.sample(time.Now().Add(time.Duration(i+1) * time.Second))
		var samples []map[string]any
		if err := c.ReadJSON(&samples); err != nil || len(samples) != 1 {
			t.Fatalf("%v, %v", samples, err)
		}
		for _, m := range regexp.MustCompile(`data-value="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if _, ok := samples[0][m[1]]; !ok {
				t.Errorf("a sample lacks %s", m[1])
			}
		}
	}
	if text, _ := get(t, base+"/metrics"); !strings.Contains(text, "websocket_connections 0\n") {
		t.Error("the page's own connection is counted")
	}
}

// Metrics go to the collector that the environment names, the last ones when the program ends.
func TestOTLP(t *testing.T) {
	if provider, err := otlpProvider(t.Context()); provider != nil || err != nil {
		t.Errorf("without a collector: %v, %v", provider, err)
	}
	got := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "127.0.0.1:0", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if s := <-got; !strings.HasPrefix(s, "/v1/metrics ") || !strings.Contains(s, "websocket.compression.ratio") {
		t.Errorf("the collector got %.100q", s)
	}
}

// The end of the program sends 1001 to every connection.
func TestEnd(t *testing.T) {
	s, _, _, log := start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, ln) }()
	closed := make(chan error, 2)
	for _, path := range []string{"/echo", "/live"} {
		c, _, err := websocket.DefaultDialer.Dial("ws://"+ln.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() {
			for {
				if _, _, err := c.ReadMessage(); err != nil {
					closed <- err
					return
				}
			}
		}()
	}
	cancel()
	for range 2 {
		if err := <-closed; !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("%v, want a close frame with 1001", err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "code=1001") {
		t.Errorf("the log lacks the end:\n%s", log.String())
	}
}

// join tells every Trace of everything.
func TestJoin(t *testing.T) {
	var got []string
	note := func(name string) *websocket.Trace {
		return &websocket.Trace{
			Opened:  func(*websocket.Conn) { got = append(got, name+" opened") },
			Message: func(*websocket.Conn, bool, int, int, int) { got = append(got, name+" message") },
			Ping:    func(*websocket.Conn, time.Duration) { got = append(got, name+" ping") },
			Closed:  func(*websocket.Conn, error) { got = append(got, name+" closed") },
		}
	}
	trace := join(note("a"), note("b"))
	trace.Opened(nil)
	trace.Message(nil, true, 1, 2, 3)
	trace.Ping(nil, time.Second)
	trace.Closed(nil, errors.New("end"))
	want := "a opened, b opened, a message, b message, a ping, b ping, a closed, b closed"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s, want %s", s, want)
	}
}
