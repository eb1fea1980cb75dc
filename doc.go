// Package websocket implements the WebSocket protocol (RFC 6455) for servers and clients, with
// compression (RFC 7692). It uses the standard library alone.
//
// It has every exported name of github.com/gorilla/websocket v1.5.3, with the same type. A program
// written for that package moves by changing an import path; see Migrating below.
//
// A server turns an HTTP request into a [Conn] with [Upgrader.Upgrade]:
//
//	var upgrader websocket.Upgrader
//
//	func echo(w http.ResponseWriter, r *http.Request) {
//		c, err := upgrader.Upgrade(w, r, nil)
//		if err != nil {
//			return // Upgrade has answered the request.
//		}
//		defer c.Close()
//		for m, err := range c.Messages(r.Context()) {
//			if err != nil {
//				log.Print(err)
//				return
//			}
//			if err := c.WriteMessage(m.Type, m.Data); err != nil {
//				return
//			}
//		}
//	}
//
// A client gets one from [Dialer.DialContext]:
//
//	c, _, err := websocket.DefaultDialer.DialContext(ctx, "wss://example.com/chat", nil)
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
//		return err
//	}
//	_, p, err := c.ReadMessage()
//	if err != nil {
//		return err
//	}
//	fmt.Printf("%s\n", p)
//
// The directory docs of the repository has a guide for each larger topic.
//
// # Messages
//
// A message is text or binary, and is read and written as a whole or as a stream.
//
//	messageType, p, err := c.ReadMessage()
//	if err != nil {
//		return err
//	}
//	fmt.Println(messageType == websocket.TextMessage, len(p))
//
// There are several ways to read, which may be mixed:
//
//   - [Conn.ReadMessage] returns a message in a slice that belongs to the caller.
//   - [Conn.Messages] ranges over the messages and reuses their memory: a message is valid until the
//     next turn of the loop.
//   - [Conn.NextReader] streams a message of any size. [JoinMessages] makes one stream of all.
//   - [Conn.ReadJSON] decodes a message.
//   - [Conn.Handle] and [Conn.Stream] have sections below.
//
// And to write:
//
//   - [Conn.WriteMessage] sends a message in one frame.
//   - [Conn.NextWriter] streams a message, which is complete when the writer is closed.
//   - [Conn.WriteJSON] encodes a value.
//   - [PreparedMessage] is encoded once and sent to several connections, [Group] sends to many.
//
// Text must be UTF-8. Incoming text is checked as it arrives: the connection fails with close code
// 1007 at the first byte that cannot be valid (RFC 6455 §8.1). Outgoing text is not checked.
//
// # Concurrency
//
// All methods of a Conn may be called from any goroutine; no mutex is needed.
//
//	go c.WriteMessage(websocket.TextMessage, []byte("one"))
//	go c.WriteMessage(websocket.TextMessage, []byte("two"))
//	_, p, err := c.ReadMessage()
//	fmt.Println(p, err)
//
// Each message is sent whole, one after the other, and control frames are sent between the frames
// of a message. Reads are served one at a time as well. Reads and writes do not wait for each
// other.
//
// A reader or writer of one message is for one goroutine at a time. Close every writer: once a
// message has outgrown its writer's buffer, other messages wait until that writer is closed.
//
// # Subprotocols
//
// A subprotocol is a name for what the messages mean; the client offers some, the server takes one.
//
//	var upgrader = websocket.Upgrader{
//		Subprotocols:       []string{"chat.v2", "chat.v1"}, // the server's preference
//		RequireSubprotocol: true,                           // refuse clients that offer neither
//	}
//
// A client offers those of Dialer.Subprotocols. [Conn.Subprotocol] is the one agreed on, or "".
//
// # Control frames
//
// Pings, pongs and close frames are handled by the goroutine that reads, so keep a read going even
// where no message is expected. [Conn.CloseRead] does that for programs that only write.
//
//	if err := c.Ping(ctx); err != nil { // another goroutine reads
//		return err
//	}
//
// Pings are answered, and a close frame ends the reading. [Conn.Ping] sends a ping and waits for
// its pong; [Conn.WriteControl] sends any control frame.
//
// [Conn.SetPingHandler], [Conn.SetPongHandler] and [Conn.SetCloseHandler] replace the default
// handlers. A handler runs inside the call that reads. It may write, but must neither read nor call
// [Conn.Shutdown].
//
// A ping that arrives while another goroutine writes is answered after that write. If more than 16
// wait, only the latest are answered, as RFC 6455 §5.5.3 allows.
//
// # Deadlines and contexts
//
// A deadline bounds all reads or all writes, a context bounds one call.
//
//	c.SetReadDeadline(time.Now().Add(time.Minute))
//	if err := c.WriteMessageContext(ctx, websocket.TextMessage, []byte("hello")); err != nil {
//		return err
//	}
//
// [Conn.SetReadDeadline] and [Conn.SetWriteDeadline] also act on calls in progress. Each reading
// and writing method has a form with a context. Passing the same context to every call is cheap.
//
// What the end of a wait means for the connection:
//
//	a read ended between messages                    it stays usable
//	a read ended inside a message                    it can no longer be read from
//	a write ended while it waited for another one    nothing was sent; it stays usable
//	a write ended after it had begun                 it can no longer be written to
//
// The context of an HTTP request ends when its handler returns, and not when the peer goes away.
// Use the error of a read or write to notice that.
//
// Some connections have no deadlines, such as the channels of an SSH connection. A wait on one of
// those can only be ended by closing the connection.
//
// # Closing
//
// [Conn.Shutdown] does the close handshake; [Conn.Close] closes at once.
//
//	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
//	defer cancel()
//	if err := c.Shutdown(ctx, websocket.CloseNormalClosure, "done"); err != nil {
//		log.Print(err)
//	}
//
// Shutdown sends a close frame, waits for the peer's until its context ends, and closes the
// connection. It returns nil only if the peer's close frame came. What the peer still sends is
// discarded. Always defer a Close; after a Shutdown it does no harm. Without a Shutdown the peer
// sees code 1006.
//
// When the peer closes, its code is sent back, and reads return a [*CloseError].
//
// The http.Server no longer knows of a connection that was upgraded. Put the connections of a
// server into a [Group] and call [Group.Shutdown] when the server ends.
//
// # Errors
//
// Errors are permanent: each later call returns the same one. The exception is a wait that left the
// connection usable.
//
//	_, p, err := c.ReadMessage()
//	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
//		return nil // the peer is done
//	} else if err != nil {
//		return err
//	}
//	handle(p)
//
// What reads and writes return:
//
//	what happened                        reading                            writing
//	the peer sent a close frame          *CloseError with its code          ErrCloseSent, once ours is out
//	the stream ended without one         *CloseError, code 1006,            the net error
//	                                     Is io.ErrUnexpectedEOF
//	the peer broke the protocol          *ProtocolError with the code sent  ErrCloseSent
//	a message was larger than the limit  ErrReadLimit, after code 1009      ErrCloseSent
//	a deadline passed                    Is os.ErrDeadlineExceeded          the same
//	a context ended                      Is context.Cause(ctx)              the same
//	KeepAlive found the peer gone        Is os.ErrDeadlineExceeded          the same
//	a Group found the peer too slow      ErrSlowMember                      the same
//	we called Close                      Is net.ErrClosed                   the same
//
// "Is" means [errors.Is]; the other errors come unwrapped. [Conn.Err] returns what ended the
// reading. [IsUnexpectedCloseError] tells a close that deserves a line in the log from an ordinary
// one.
//
// [Upgrader.Upgrade] returns a [HandshakeError] after it has answered the request.
// [Dialer.DialContext] returns [ErrBadHandshake] and the response if the server refuses.
//
// # Limits
//
// A message may have up to 64 MiB; set a limit that fits your messages.
//
//	var upgrader = websocket.Upgrader{
//		ReadLimit: 64 << 10,
//	}
//
// A larger message fails the connection with code 1009. [Conn.SetReadLimit] sets the limit of one
// connection at any time. The limit holds for the bytes received and for those they decompress to.
// Memory grows with the bytes that have arrived, not with the length that a peer announces.
//
// The number of connections and the rate of messages are for the application to limit.
//
// # Origins
//
// By default a browser may connect only from pages of the server's own origin.
//
//	var upgrader = websocket.Upgrader{
//		Origins: []string{"https://app.example.com", "https://*.example.org"}, // besides its own
//	}
//
// Browsers let every page connect to every server and send the user's cookies along, so a server
// that accepts every origin lets every page act in the user's name. Upgrader.CheckOrigin replaces
// the check by your own.
//
// Clients that send no Origin header are accepted. An origin is no authentication.
//
// # Keep-alive
//
// [KeepAlive] pings a silent peer and ends the connection if it stays silent.
//
//	var upgrader = websocket.Upgrader{
//		KeepAlive: websocket.KeepAlive{Interval: 30 * time.Second, Timeout: 10 * time.Second},
//	}
//
// After Interval without a byte a ping is sent, and after Timeout without another the connection
// fails. Any byte counts, and so does progress in sending a long frame, which no ping can overtake.
// A goroutine must be reading. It costs a timer.
//
// # Compression
//
// EnableCompression, in [Upgrader] or [Dialer], negotiates permessage-deflate.
//
//	var upgrader = websocket.Upgrader{
//		EnableCompression: true,
//		Compression:       websocket.CompressionOptions{Threshold: 256}, // leave shorter messages alone
//	}
//
// Messages are then sent compressed if that makes them smaller. [Conn.EnableWriteCompression] turns
// that off and on again. [CompressionOptions] sets the level. With its ContextTakeover messages
// refer to earlier ones: short messages that are alike become several times smaller.
//
// The length of a compressed message reveals something of its content. Do not compress a secret
// together with text that an attacker can choose.
//
// Compressing takes up to 1.2 MB, depending on the level; decompressing takes 80 to 110 KB. Both
// come from pools and are in use only while a message is being processed. ContextTakeover keeps
// about 1 MB for each connection that sends, and 32 KiB for each that receives. The members of a
// [Group] share one compressor.
//
// # Broadcasting
//
// A [Group] sends the same messages to many connections and never waits for any of them.
//
//	var group websocket.Group
//	group.Add(c)
//	group.Broadcast(websocket.TextMessage, []byte("hello"))
//
// A message is framed, compressed and kept in memory once, however many members there are. A
// connection leaves its groups when this end closes it.
//
// A member may lag behind by Group.MaxLag bytes. Beyond that it is closed with code 1013 or, with
// [SkipSlow], misses messages. [Group.BroadcastLatest] is for messages that replace earlier ones:
// members that lag, and those that join, get the latest.
//
// With Upgrader.Group every connection of a server is a member. [Group.Shutdown] ends all of them.
// Group.Spread distributes the ends over time, so that the clients do not all come back at once.
//
// # Many connections
//
// [Conn.Handle] calls a function for each message; a connection that is silent has no goroutine.
//
//	c.Handle(func(c *websocket.Conn, m websocket.Message, err error) {
//		if err == nil {
//			c.WriteMessage(m.Type, m.Data)
//		}
//	})
//
// Handle returns at once, and the handler of the HTTP request should then return too. The function
// may block: that delays the next message of its own connection, and others by about a millisecond.
// The call with an error is the last one, and the connection is closed after it.
//
// It pays where there are many connections, silent most of the time: a TCP connection that waits
// takes about 1.7 KB instead of 4.4 KB or more, and with TLS 9.5 KB instead of 14.5 KB. With many
// connections a small message costs less CPU time than in a loop, but over TLS a tenth more. For a
// few hundred connections a loop over [Conn.Messages] reads better. On Linux, macOS and the BSDs
// Handle works without a goroutine for TCP and Unix sockets, with or without TLS; for other
// connections, and on other systems, it starts one with the same loop.
//
// # Streams
//
// [Conn.Stream] makes a connection a [net.Conn], for protocols that expect TCP.
//
//	s := c.Stream(websocket.BinaryMessage)
//	defer s.Close()
//	fmt.Fprintln(s, "hello")
//
// Each Write is a message, and reads do not see where a message ends. Reads and writes that time
// out can be continued.
//
// # Reconnecting
//
// [Dialer.Redial] is a loop over connections: when one ends it dials the next, after a wait.
//
//	var b websocket.Backoff
//	for c, err := range websocket.DefaultDialer.Redial(ctx, "wss://example.com/feed", nil, b) {
//		if err != nil {
//			log.Print(err) // this attempt failed
//			continue
//		}
//		for m, err := range c.Messages(ctx) {
//			if err != nil {
//				log.Print(err) // this connection failed
//				break
//			}
//			handle(m.Data)
//		}
//	}
//
// The waits are random and grow while the server cannot be reached (RFC 6455 §7.2.3). The loop ends
// with ctx, and with an error that no retry can cure, such as a status of 401.
//
// # HTTP/2
//
// [HTTP2Handler] lets WebSocket connections come over HTTP/2 as well (RFC 8441).
//
//	mux := http.NewServeMux()
//	srv := &http.Server{Addr: ":443", Handler: websocket.HTTP2Handler(mux)}
//	log.Fatal(srv.ListenAndServeTLS("cert.pem", "key.pem"))
//
// Wrap the handler of the whole server; other handlers need no change. Browsers use HTTP/2 for
// WebSocket only if the program was started with GODEBUG=http2xconnect=1 in its environment.
// docs/http2.md has the reasons, and two fields of the server to set. A [Dialer] speaks HTTP/1.1.
//
// # Observing
//
// A [Trace] is told of each connection, message, round trip and end, for metrics and logs.
//
//	var upgrader = websocket.Upgrader{Trace: &websocket.Trace{
//		Closed: func(c *websocket.Conn, err error) { log.Print(c.RemoteAddr(), err) },
//	}}
//
// Its functions run on the goroutine that reads or writes, which waits for them.
//
// # Testing
//
// [Pipe] returns both ends of a connection in memory, with no socket and no handshake.
//
//	client, server := websocket.Pipe(websocket.ConnOptions{})
//	client.WriteMessage(websocket.TextMessage, []byte("hello"))
//	_, p, err := server.ReadMessage()
//	fmt.Println(p, err)
//
// In a [testing/synctest] bubble all waits are instant, those of KeepAlive included. [NewConn]
// makes a Conn of any net.Conn whose handshake was done elsewhere.
//
// # Performance
//
// Nothing needs tuning. [Conn.Flush] is for a reply that must not wait at all.
//
//	c.WriteMessage(websocket.TextMessage, []byte("reply"))
//	c.Flush()
//
// While another whole message waits in the read buffer, small writes are delayed, so that the
// replies to messages that arrived together share a system call. They are sent when the reader is
// about to wait, when they reach 16 KiB, and after WriteDelay, 200 µs by default, at the latest.
// With one message in flight nothing is delayed.
//
// A connection that waits for a message holds no buffer: one is borrowed when bytes arrive. What
// remains is the Conn, the goroutine that reads, and what TLS keeps. A handler that stays in its
// loop of messages keeps the HTTP request in memory as well. One that starts a goroutine for the
// loop, or calls [Conn.Handle], and returns does not.
//
// # Migrating from gorilla/websocket
//
// Change the import path, or replace the module and leave the sources as they are. README.md has
// the command, and MIGRATING.md what behaves differently and what can be deleted.
package websocket
