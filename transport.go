package websocket

// How a Dialer reaches the server: an http.Transport per dial, the connections it is given, and
// tunnels through HTTP and HTTPS proxies. RFC 6455 §4.1 wants CONNECT for ws URLs as well as for wss,
// and a Transport uses it for https alone.

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// transportBuffer is the size in bytes of the Transport's buffers.
const transportBuffer = 2 << 10

// transport returns the http.Transport for one request.
func (d *Dialer) transport(ctx context.Context, req *http.Request) (*http.Transport, error) {
	var proxy *url.URL
	if d.Proxy != nil {
		var err error
		if proxy, err = d.Proxy(req); err != nil {
			return nil, err
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	tr := &http.Transport{
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return d.dial(ctx, network, addr)
		},
		TLSClientConfig:        d.tlsConfig(),
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         transportBuffer,
		WriteBufferSize:        transportBuffer,
		Protocols:              protocols,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	switch {
	case proxy == nil:
		if d.NetDialTLSContext != nil {
			tr.DialTLSContext = func(_ context.Context, network, addr string) (net.Conn, error) {
				return call(ctx, d.NetDialTLSContext, network, addr)
			}
		}
	case proxy.Scheme == "socks5" || proxy.Scheme == "socks5h":
		tr.Proxy = http.ProxyURL(proxy)
	case proxy.Scheme == "http" || proxy.Scheme == "https":
		tr.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) {
			return d.dialProxy(ctx, proxy, network, addr)
		}
	default:
		return nil, fmt.Errorf("websocket: the proxy's scheme is %q, it must be http, https, socks5 or socks5h", proxy.Scheme)
	}
	return tr, nil
}

// tlsConfig returns a configuration of its own for one dial.
func (d *Dialer) tlsConfig() *tls.Config {
	cfg := d.TLSClientConfig.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	// A configuration shared with an http.Client names h2, where there is no Upgrade header.
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}

// dial makes a TCP connection.
func (d *Dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	switch {
	case d.NetDialContext != nil:
		return call(ctx, d.NetDialContext, network, addr)
	case d.NetDial != nil:
		return call(ctx, func(_ context.Context, network, addr string) (net.Conn, error) {
			return d.NetDial(network, addr)
		}, network, addr)
	}
	var nd net.Dialer
	nc, err := nd.DialContext(ctx, network, addr)
	return boundBy(ctx, nc, err)
}

// call calls a dial function of the application. The Transport dials on a goroutine of its own, where
// a panic would end the process, and runtime.Goexit would leave the Transport waiting for ever. Behind
// one more goroutine either is an error, and roundTrip panics anew where Dial was called. If that has
// already given up, nobody is left to tell.
func call(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), network, addr string) (nc net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			if returned {
				return
			}
			nc, err = nil, errDialExited
			if value := recover(); value != nil {
				err = &dialPanic{value}
			}
		}()
		nc, err = dial(ctx, network, addr)
		returned = true
	}()
	<-done
	return boundBy(ctx, nc, err)
}

// errDialExited reports a dial function that neither returned nor panicked.
var errDialExited = errors.New("websocket: the dial function ended its goroutine instead of returning, " +
	"by runtime.Goexit or a method of testing.T that calls it, such as Fatal")

// A dialPanic is the panic of a dial function on its way to the caller of Dial.
type dialPanic struct{ value any }

func (p *dialPanic) Error() string {
	return fmt.Sprintf("websocket: panic in the dial function: %v", p.value)
}

// boundBy gives a new connection the deadline of ctx. The Transport closes the connection when ctx
// ends; the deadline reaches what it cannot close.
func boundBy(ctx context.Context, nc net.Conn, err error) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && err == nil && nc != nil {
		nc.SetDeadline(deadline) // best effort: some connections have no deadlines
	}
	return nc, err
}

// dialProxy returns a connection to addr through the proxy.
func (d *Dialer) dialProxy(ctx context.Context, proxy *url.URL, network, addr string) (net.Conn, error) {
	nc, err := d.dialToProxy(ctx, proxy, network)
	if err == nil {
		if err = connectTunnel(ctx, nc, proxy, addr); err == nil {
			return nc, nil
		}
		nc.Close()
	}
	return nil, &net.OpError{Op: "proxyconnect", Net: network, Err: err}
}

// dialToProxy returns a connection to the proxy itself.
func (d *Dialer) dialToProxy(ctx context.Context, proxy *url.URL, network string) (net.Conn, error) {
	port := proxy.Port()
	if port == "" {
		port = defaultPort(proxy.Scheme)
	}
	addr := net.JoinHostPort(proxy.Hostname(), port)
	if proxy.Scheme == "http" {
		return d.dial(ctx, network, addr)
	}
	if d.NetDialTLSContext != nil {
		return call(ctx, d.NetDialTLSContext, network, addr)
	}
	nc, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	cfg := d.tlsConfig()
	if cfg.ServerName == "" {
		cfg.ServerName = proxy.Hostname()
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// connectTunnel asks the proxy at the other end of nc for a tunnel to addr.
func connectTunnel(ctx context.Context, nc net.Conn, proxy *url.URL, addr string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	// Closing is what every connection understands.
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	if err := req.Write(nc); err != nil {
		return err
	}
	br := bufio.NewReaderSize(io.LimitReader(nc, 64<<10), transportBuffer)
	resp, err := http.ReadResponse(br, req)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		// RFC 9110 §15.2: any number of interim responses may come first.
		resp, err = http.ReadResponse(br, req)
	}
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2: // RFC 9110 §9.3.6: any 2xx opens the tunnel
		return fmt.Errorf("the proxy refused a tunnel to %s: %s", addr, resp.Status)
	case br.Buffered() > 0:
		// The server behind it waits for the request, so it was the proxy.
		return errors.New("the proxy sent data behind its answer to CONNECT")
	}
	return nil
}
