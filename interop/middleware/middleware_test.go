// Package middleware tries Upgrade behind the routers and middleware of others. Each either lets
// the connection be taken over, or the error names the wrapper that does not and the remedy.
package middleware

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/tautws/websocket"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// Each wraps a handler in the whole of what it is named for.
var transparent = []struct {
	name string
	wrap func(h http.HandlerFunc) http.Handler
}{
	{"chi", func(h http.HandlerFunc) http.Handler {
		r := chi.NewRouter()
		r.Get("/", h)
		return r
	}},
	{"chi with its middleware", func(h http.HandlerFunc) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.RequestID, chimiddleware.RealIP, chimiddleware.RequestLogger(discard{}), chimiddleware.Recoverer,
			chimiddleware.Timeout(time.Minute), chimiddleware.Throttle(10), chimiddleware.Compress(5))
		r.Get("/", h)
		return r
	}},
	{"gin", func(h http.HandlerFunc) http.Handler {
		e := gin.New()
		e.GET("/", func(c *gin.Context) { h(c.Writer, c.Request) })
		return e
	}},
	{"gin with its middleware", func(h http.HandlerFunc) http.Handler {
		e := gin.New()
		e.Use(gin.LoggerWithWriter(io.Discard), gin.RecoveryWithWriter(io.Discard))
		e.GET("/", gin.WrapF(h))
		return e
	}},
	{"echo", func(h http.HandlerFunc) http.Handler {
		e := echo.New()
		e.GET("/", func(c echo.Context) error {
			h(c.Response(), c.Request())
			return nil
		})
		return e
	}},
	{"echo with its middleware", func(h http.HandlerFunc) http.Handler {
		e := echo.New()
		e.Use(echomiddleware.LoggerWithConfig(echomiddleware.LoggerConfig{Output: io.Discard}), echomiddleware.Recover(),
			echomiddleware.RequestID(), echomiddleware.Gzip(), echomiddleware.BodyLimit("1M"), echomiddleware.Secure())
		e.GET("/", echo.WrapHandler(h))
		return e
	}},
	{"otelhttp", func(h http.HandlerFunc) http.Handler { return otelhttp.NewHandler(h, "websocket") }},
	{"gorilla/handlers logging", func(h http.HandlerFunc) http.Handler { return handlers.CombinedLoggingHandler(io.Discard, h) }},
	{"gorilla/handlers compression", func(h http.HandlerFunc) http.Handler {
		return handlers.CompressHandlerLevel(h, gzip.BestSpeed)
	}},
	{"all of them", func(h http.HandlerFunc) http.Handler {
		e := echo.New()
		e.Use(echomiddleware.Gzip())
		e.GET("/", echo.WrapHandler(h))
		r := chi.NewRouter()
		r.Use(chimiddleware.RequestLogger(discard{}))
		r.Mount("/", otelhttp.NewHandler(e, "websocket"))
		g := gin.New()
		g.GET("/", gin.WrapH(handlers.CompressHandler(handlers.LoggingHandler(io.Discard, r))))
		return g
	}},
}

// discard is a chi logger that prints nothing.
type discard struct{}

func (discard) NewLogEntry(*http.Request) chimiddleware.LogEntry { return discard{} }
func (discard) Write(int, int, http.Header, time.Duration, any)  {}
func (discard) Panic(any, []byte)                                {}

func TestUpgrade(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for _, m := range transparent {
		t.Run(m.name, func(t *testing.T) {
			served := make(chan error, 1)
			upgrader := websocket.Upgrader{EnableCompression: true}
			server := httptest.NewServer(m.wrap(func(w http.ResponseWriter, r *http.Request) {
				c, err := upgrader.Upgrade(w, r, http.Header{"X-Handler": {"websocket"}})
				if err != nil {
					served <- err
					return
				}
				defer c.Close()
				for m, err := range c.Messages(r.Context()) {
					if err == nil {
						err = c.WriteMessage(m.Type, m.Data)
					}
					if err != nil {
						served <- err
						return
					}
				}
				served <- nil
			}))
			defer server.Close()

			dialer := websocket.Dialer{EnableCompression: true, HandshakeTimeout: 30 * time.Second}
			c, resp, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), http.Header{"Accept-Encoding": {"gzip"}})
			if err != nil {
				t.Fatalf("%v, the handler %v", err, <-served)
			}
			defer c.Close()
			if got := resp.Header.Get("X-Handler"); got != "websocket" {
				t.Errorf("X-Handler is %q", got)
			}
			for _, text := range []string{"", "hello", strings.Repeat("long ", 20000)} {
				if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
					t.Fatal(err)
				}
				if _, p, err := c.ReadMessage(); err != nil || string(p) != text {
					t.Fatalf("read %d bytes, %v, expected %d", len(p), err, len(text))
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := c.Shutdown(ctx, websocket.CloseNormalClosure, ""); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := <-served; err != nil {
				t.Errorf("the handler ends with %v", err)
			}
		})
	}
}

// hiding wraps a ResponseWriter in a type that lets nothing but the interface through, as
// middleware often does; an http.Handler that is given it sees neither http.Hijacker nor Unwrap.
type hiding struct{ http.ResponseWriter }

// opaque lists what hides http.Hijacker: the error names the type and the remedy.
var opaque = []struct {
	name, wrapper, remedy string
	wrap                  func(h http.HandlerFunc) http.Handler
}{
	{"http.TimeoutHandler", "*http.timeoutWriter", "http.TimeoutHandler can never", func(h http.HandlerFunc) http.Handler {
		return http.TimeoutHandler(h, time.Minute, "")
	}},
	{"a wrapper without Unwrap", "middleware.hiding", "Unwrap() http.ResponseWriter", func(h http.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(hiding{w}, r) })
	}},
	{"one behind others", "*http.timeoutWriter", "http.TimeoutHandler can never", func(h http.HandlerFunc) http.Handler {
		return http.TimeoutHandler(otelhttp.NewHandler(handlers.LoggingHandler(io.Discard, h), "websocket"), time.Minute, "")
	}},
}

func TestHijackerHidden(t *testing.T) {
	for _, m := range opaque {
		t.Run(m.name, func(t *testing.T) {
			refused := make(chan error, 1)
			server := httptest.NewServer(m.wrap(func(w http.ResponseWriter, r *http.Request) {
				var upgrader websocket.Upgrader
				c, err := upgrader.Upgrade(w, r, nil)
				if err == nil {
					c.Close()
				}
				refused <- err
			}))
			defer server.Close()
			_, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
			if err != websocket.ErrBadHandshake && !errors.Is(err, websocket.ErrBadHandshake) {
				t.Errorf("Dial returned %v", err)
			}
			if resp == nil || resp.StatusCode != http.StatusInternalServerError {
				t.Errorf("the client was answered %v", resp)
			}
			err = <-refused
			if _, ok := err.(websocket.HandshakeError); !ok {
				t.Fatalf("Upgrade returned a %T, %v", err, err)
			}
			for _, part := range []string{m.wrapper, "http.Hijacker", m.remedy} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not name %s: %v", part, err)
				}
			}
		})
	}
}
