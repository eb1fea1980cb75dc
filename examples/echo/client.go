package main

// The client. For each connection one goroutine reads messages and prints them, and one sends
// pings; one reads lines, and the caller of run sends them. Replies go to out and everything else
// to notes, so that the output can be piped.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tautws/websocket"
)

// closeWait bounds the wait for the server's close frame after ours.
const closeWait = 5 * time.Second

type client struct {
	url          string
	header       http.Header
	subprotocols []string
	compress     bool
	pings        int
	interval     time.Duration
	ca           string
	insecure     bool
	reconnect    bool
	backoff      websocket.Backoff // if reconnect is set

	in         io.Reader
	out, notes io.Writer
}

func (cl *client) addHeader(line string) error {
	name, value, found := strings.Cut(line, ":")
	if !found {
		return errors.New("a header looks like \"Name: value\"")
	}
	if cl.header == nil {
		cl.header = make(http.Header)
	}
	cl.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

func (cl *client) addSubprotocol(name string) error {
	cl.subprotocols = append(cl.subprotocols, name)
	return nil
}

func (cl *client) dialer() (*websocket.Dialer, error) {
	d := websocket.Dialer{
		Proxy:             http.ProxyFromEnvironment,
		HandshakeTimeout:  45 * time.Second,
		Subprotocols:      cl.subprotocols,
		EnableCompression: cl.compress,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: cl.insecure},
	}
	if cl.ca != "" {
		pem, err := os.ReadFile(cl.ca)
		if err != nil {
			return nil, err
		}
		d.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !d.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", cl.ca)
		}
	}
	return &d, nil
}

// run talks to the server until the input or ctx ends or, unless it is to reconnect, the server
// closes. The error is nil after a clean close with 1000.
func (cl *client) run(ctx context.Context) error {
	d, err := cl.dialer()
	if err != nil {
		return err
	}
	lines := make(chan string)
	done := make(chan struct{})
	defer close(done)
	go readLines(cl.in, lines, done)
	if cl.reconnect {
		return cl.talkAgain(ctx, d, lines)
	}
	c, resp, err := d.DialContext(ctx, cl.url, cl.header)
	if err != nil && resp != nil {
		body, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%w: %s: %s", err, resp.Status, bytes.TrimSpace(body))
	}
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = cl.talk(ctx, c, lines)
	return err
}

// talkAgain talks over one connection after another until the input or ctx ends or there is no
// point in another attempt.
func (cl *client) talkAgain(ctx context.Context, d *websocket.Dialer, lines <-chan string) error {
	var last error
	for c, err := range d.Redial(ctx, cl.url, cl.header, cl.backoff) {
		if err == nil {
			var over bool
			if over, err = cl.talk(ctx, c, lines); over {
				return err
			}
		}
		if last = err; err != nil {
			fmt.Fprintln(cl.notes, err)
		}
	}
	return last
}

// talk uses a connection. over tells that this end has closed it, because the input or ctx has
// ended.
func (cl *client) talk(ctx context.Context, c *websocket.Conn, lines <-chan string) (over bool, err error) {
	if p := c.Subprotocol(); p != "" {
		fmt.Fprintln(cl.notes, "subprotocol:", p)
	}
	closed := make(chan error, 1)
	go func() { closed <- cl.receive(c) }()
	pingCtx, stopPings := context.WithCancel(ctx)
	pinged := make(chan struct{})
	go func() {
		defer close(pinged)
		cl.ping(pingCtx, c)
	}()

	over, err = cl.send(ctx, c, lines, closed, pinged)
	stopPings()
	<-pinged
	if ce, ok := err.(*websocket.CloseError); ok {
		fmt.Fprintln(cl.notes, strings.TrimSpace(fmt.Sprintf("closed: %d %s", ce.Code, ce.Text)))
		if ce.Code == websocket.CloseNormalClosure {
			return over, nil
		}
	}
	return over, err
}

// send sends lines. At the end of them, once the pings are answered, and at the end of ctx it
// closes with 1000, and over is true. It returns the error that ended the reading.
func (cl *client) send(ctx context.Context, c *websocket.Conn, lines <-chan string, closed <-chan error,
	pinged <-chan struct{}) (over bool, err error) {
	var ended <-chan struct{} // pinged, from the end of the input on
	for {
		select {
		case line, more := <-lines:
			if !more {
				lines, ended = nil, pinged
				continue
			}
			messageType := websocket.TextMessage
			if !utf8.ValidString(line) {
				messageType = websocket.BinaryMessage // A text message is UTF-8.
			}
			if err := c.WriteMessage(messageType, []byte(line)); err != nil {
				fmt.Fprintf(cl.notes, "not sent: %q\n", line)
				return false, firstOf(closed, err)
			}
			continue
		case err := <-closed:
			return false, err
		case <-ended:
		case <-ctx.Done():
		}
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		err := c.WriteControl(websocket.CloseMessage, bye, time.Now().Add(closeWait))
		c.SetReadDeadline(time.Now().Add(closeWait))
		if err != nil {
			c.Close()
		}
		return true, <-closed
	}
}

// firstOf prefers the reader's error, which tells why the server closed, to the writer's.
func firstOf(closed <-chan error, err error) error {
	select {
	case err = <-closed:
	case <-time.After(closeWait):
	}
	return err
}

func readLines(r io.Reader, lines chan<- string, done <-chan struct{}) {
	defer close(lines)
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		if line != "" {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			select {
			case lines <- line:
			case <-done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// receive prints messages until the connection ends and returns why it did.
func (cl *client) receive(c *websocket.Conn) error {
	for {
		messageType, message, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if messageType == websocket.TextMessage {
			fmt.Fprintf(cl.out, "%s\n", message)
		} else {
			fmt.Fprintf(cl.out, "binary, %d bytes: % x\n", len(message), message)
		}
	}
}

// ping measures round-trip times. receive reads the pongs.
func (cl *client) ping(ctx context.Context, c *websocket.Conn) {
	var total, least, most time.Duration
	for n := range cl.pings {
		if n > 0 {
			select {
			case <-time.After(cl.interval):
			case <-ctx.Done():
				return
			}
		}
		start := time.Now()
		if err := c.Ping(ctx); ctx.Err() != nil {
			return
		} else if err != nil {
			fmt.Fprintln(cl.notes, "ping:", err)
			return
		}
		rtt := time.Since(start)
		fmt.Fprintf(cl.notes, "ping %d: %v\n", n+1, rtt)
		total, most = total+rtt, max(most, rtt)
		if n == 0 || rtt < least {
			least = rtt
		}
	}
	if cl.pings > 0 {
		fmt.Fprintf(cl.notes, "ping: least %v, mean %v, most %v\n", least, total/time.Duration(cl.pings), most)
	}
}
