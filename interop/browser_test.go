package interop

// Chromium and Firefox, headless: the conversation with a page as the peer, and the pages of
// examples/ as a user would see them.

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/tautws/websocket"
)

var browsers = []struct {
	kind, program string
	opaque        bool // WebSocket.extensions holds names alone
}{
	{"chrome", "chromium", false},
	{"firefox", "firefox-esr", true},
}

// startBrowser runs a browser with a fresh profile until the test ends.
func startBrowser(t *testing.T, kind, program string) *peer {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not installed, run interop/install.sh: %v", program, err)
	}
	home := t.TempDir()
	env := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "TMPDIR=" + home}
	return startPeer(t, env, "node", "browser.mjs", kind, path, t.TempDir())
}

// ask has the browser evaluate an expression in a page.
func (p *peer) ask(t testing.TB, page, expression string) string {
	t.Helper()
	p.do(t, command{Do: "evaluate", Page: page, Data: expression})
	return p.expect(t, "value").Data
}

// await returns when an expression has become true in a page.
func (p *peer) await(t testing.TB, page, expression string) {
	t.Helper()
	p.do(t, command{Do: "wait", Page: page, Data: expression})
	p.expect(t, "true")
}

func (p *peer) click(t testing.TB, page, selector string) {
	t.Helper()
	p.do(t, command{Do: "click", Page: page, Selector: selector})
	p.expect(t, "clicked")
}

func (p *peer) enter(t testing.TB, page, selector, text string) {
	t.Helper()
	p.do(t, command{Do: "type", Page: page, Selector: selector, Data: text})
	p.expect(t, "typed")
}

func (p *peer) visit(t testing.TB, page, url string) {
	t.Helper()
	p.do(t, command{Do: "open", Page: page, URL: url})
	p.expect(t, "opened")
}

func TestBrowser(t *testing.T) {
	for _, b := range browsers {
		t.Run(b.program, func(t *testing.T) {
			t.Parallel()
			p := startBrowser(t, b.kind, b.program)
			ca := newAuthority(t)
			t.Run("conversation", func(t *testing.T) {
				e := startExample(t, "echo")
				p.visit(t, "peer", e.url)
				for _, v := range []variant{
					{name: "plain"},
					{name: "small buffers", bufferSize: 256},
					{
						name: "no takeover", enable: true,
						want: "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
					},
					{name: "takeover", enable: true, compression: takeover, want: "permessage-deflate"},
				} {
					if !t.Run(v.name, func(t *testing.T) { converseWithPage(t, p, v, nil, b.opaque) }) {
						return
					}
				}
				t.Run("leaving the page", func(t *testing.T) { leavePage(t, p) })
			})
			t.Run("conversation over TLS", func(t *testing.T) {
				e := startExample(t, "echo", "-cert", ca.certFile, "-key", ca.certFile)
				p.visit(t, "peer", e.url)
				v := variant{enable: true, compression: takeover, want: "permessage-deflate"}
				converseWithPage(t, p, v, ca, b.opaque)
			})
			t.Run("page of examples/echo", func(t *testing.T) {
				useEchoPage(t, p, startExample(t, "echo", "-compress"))
			})
			t.Run("page of examples/echo over TLS", func(t *testing.T) {
				useEchoPage(t, p, startExample(t, "echo", "-cert", ca.certFile, "-key", ca.certFile))
			})
			t.Run("page of examples/chat", func(t *testing.T) {
				chat(t, p, startExample(t, "chat"))
			})
		})
	}
}

func converseWithPage(t *testing.T, p *peer, v variant, ca *authority, opaque bool) {
	a := accept(t, v.upgrader(), ca)
	dial := command{Subprotocols: offeredSubprotocols}
	conversation{
		peer: p, open: accepting(p, a, dial), subprotocol: "interop.v1", extensions: v.want,
		browser: true, opaque: opaque,
	}.run(t)
}

// leavePage checks that a page which goes away says so.
func leavePage(t *testing.T, p *peer) {
	a := accept(t, websocket.Upgrader{}, nil)
	p.do(t, command{Do: "dial", URL: a.url})
	p.expect(t, "open")
	conn := <-a.conns
	defer conn.Close()
	p.do(t, command{Do: "leave", Page: "peer"})
	expectClose(t, conn, websocket.CloseError{Code: websocket.CloseGoingAway})
	p.expect(t, "left")
}

// useEchoPage works the page's own controls.
func useEchoPage(t *testing.T, p *peer, e *example) {
	const page = "echo"
	received := func(selector string) string {
		return fmt.Sprintf("document.querySelector(`#log li[data-kind=received]%s`) !== null", selector)
	}
	newest := func(property string) string {
		return p.ask(t, page, "document.querySelector(`#log li`)."+property)
	}
	connect := func() {
		p.click(t, page, "#connect")
		p.await(t, page, "document.querySelector(`#status`).dataset.state === `open`")
	}
	p.visit(t, page, e.url)
	connect()

	p.enter(t, page, "#message", "Grüße, 世界")
	p.click(t, page, "#send")
	p.await(t, page, received("[data-type=text]"))
	if got := newest("querySelector(`.data`).textContent"); got != "Grüße, 世界" {
		t.Errorf("the page shows %q as the echo", got)
	}

	p.ask(t, page, "document.querySelector(`#message`).value = `00 ff 10 80`")
	p.click(t, page, "#send-binary")
	p.await(t, page, received("[data-type=binary]"))
	if got := newest("querySelector(`.data`).textContent"); got != "00 ff 10 80" {
		t.Errorf("the page shows %q as the binary echo", got)
	}

	p.ask(t, page, "document.querySelector(`#message`).value = `x`.repeat(1 << 20); 0")
	p.click(t, page, "#send")
	p.await(t, page, received("[data-size='1048576']"))

	p.ask(t, page, "document.querySelector(`#close-code`).value = `3456`")
	p.enter(t, page, "#close-reason", "enough")
	p.click(t, page, "#close")
	p.await(t, page, "document.querySelector(`#log li[data-code]`) !== null")
	if got := newest("dataset.code"); got != "3456" {
		t.Errorf("the page shows close code %s, want 3456", got)
	}
	if got := p.ask(t, page, "document.activeElement.id"); got != "connect" {
		t.Errorf("after a close the focus is on %q", got)
	}

	connect()
	e.interrupt(t)
	p.await(t, page, "document.querySelector(`#log li[data-code='1001']`) !== null")
	if got := newest("dataset.reason"); got != "the server is going away" {
		t.Errorf("the page shows the reason %q", got)
	}
}

// chat opens two pages, types a line into one of them, and sees it in both.
func chat(t *testing.T, p *peer, e *example) {
	for _, page := range []string{"Ada", "Grace"} {
		p.visit(t, page, e.url)
		p.await(t, page, "document.querySelector(`#status`).dataset.state === `open`")
		p.ask(t, page, "document.querySelector(`#name`).value = ``")
		p.enter(t, page, "#name", page+"\n")
		p.await(t, page, "document.querySelector(`#status`).dataset.state === `open`")
	}
	p.await(t, "Ada", "document.querySelector(`#people`).textContent === `2 people here`")

	say := func(from, to, text string) {
		t.Helper()
		p.enter(t, from, "#message", text+"\n")
		for _, page := range []string{from, to} {
			p.await(t, page, fmt.Sprintf(
				"document.querySelector(`.message:last-child .text`)?.textContent === %q", text))
			if got := p.ask(t, page, "document.querySelector(`.message:last-child .name`).textContent"); got != from {
				t.Errorf("%s's page shows the line as written by %q, not by %q", page, got, from)
			}
		}
	}
	say("Ada", "Grace", "Grüße aus der Lobby")
	say("Grace", "Ada", "<b>not bold</b>")
}
