// Package websocket implements the WebSocket protocol (RFC 6455) for servers and clients, with
// compression (RFC 7692), on the standard library alone. It has every exported name of
// github.com/gorilla/websocket v1.5.3 with the same types, so a program moves by changing an import
// path; see Migrating below.
//
// A server turns an HTTP request into a [Conn] with [Upgrader.Upgrade] and answers in the same handler:
//
//	var upgrader websocket.Upgrader
//
//	func echo(w http.ResponseWriter, r *http.Request) {
//		c, err := upgrader.Upgrade(w, r, nil)
//		if err != nil {
//			return // Upgrade has told the client why
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
//	if err := c.WriteMessageContext(ctx, websocket.TextMessage, []byte("hello")); err != nil {
//		return err
//	}
//	_, p, err := c.ReadMessageContext(ctx)
//	if err != nil {
//		return err
//	}
//	fmt.Printf("%s\n", p)
//
// # Messages
//
// A message is text or binary, [TextMessage] or [BinaryMessage]. There are three ways to read one:
// [Conn.ReadMessage] returns it in a slice that belongs to the caller; [Conn.Messages] ranges over all
// of them and lends the same memory again and again; [Conn.NextReader] streams one of any size.
// [Conn.WriteMessage] sends a message in one frame; [Conn.NextWriter] streams one, and it is complete
// when the writer is closed. [Group] is for messages to many connections.
// [Conn.ReadJSON] and [Conn.WriteJSON] do what they say, [JoinMessages] makes one stream of all messages.
//
// Text is UTF-8. What comes in is checked while it arrives, and the connection fails with close code
// 1007 at the first byte that cannot be right (RFC 6455 §8.1). What goes out is not checked.
//
// # Groups
//
// A [Group] sends messages to many connections:
//
//	var group websocket.Group
//	group.Add(c)
//	group.Broadcast(websocket.TextMessage, []byte("hello"))
//
// A message is framed, compressed and kept once, and no member is waited for. One that lags by more
// than Group.MaxLag is closed or misses messages. With Upgrader.Group all connections of a server are
// members, and Group.Shutdown ends them.
//
// # Control frames
//
// Pings, pongs and close frames are handled by whoever reads: pings are answered, a close frame ends
// the reading. So keep a read going, even where no message is expected. [Conn.SetPingHandler],
// [Conn.SetPongHandler] and [Conn.SetCloseHandler] replace the default handlers; a handler runs on the
// reading goroutine, inside its call, and may write, but neither read nor call [Conn.Shutdown]. A
// ping that arrives while another goroutine writes does not make the reader wait; of more than
// sixteen such pings only the latest are answered, as RFC 6455 §5.5.3 allows.
//
// [Conn.Ping] sends a ping and returns when its pong was read. [Conn.WriteControl] sends any control
// frame.
//
// # Concurrency
//
// All methods of Conn may be called from any goroutine. Any number of goroutines may write: each
// message goes out whole, one after the other. Control frames go
// between the frames of a message. Reads are served one at a time as well. Reading and writing do not
// wait for each other. A reader or a writer of one message belongs to one goroutine at a time, and
// while an open writer has outgrown its buffer, other messages wait until it is closed: so close every
// writer.
//
// No goroutine is started for a connection.
//
// # Deadlines and contexts
//
// [Conn.SetReadDeadline] and [Conn.SetWriteDeadline] act on all reads or writes, those in progress
// included. The methods whose names end in Context take a context for one call; passing the same
// context to every call is cheap. A read that ends between messages, by either, leaves the
// connection usable; inside a message it does not. A write that ends while it waits for another
// goroutine's message has sent nothing and leaves the connection usable; the end of a write, or of a
// streamed message, that had begun is permanent, as part of it may have left.
//
// There are connections without deadlines, such as the channels of an SSH connection. A wait for one of
// those can only be ended by closing it, so that is always permanent, for reads and writes alike.
//
// Once Upgrade has returned, the context of the HTTP request ends when the handler returns, and not
// when the peer goes away: reads and writes tell that.
//
// # Closing
//
// [Conn.Close] and [Conn.Shutdown] are the pair that [net/http.Server] has. Close closes at once:
// the peer sees 1006 if no close frame was sent before. Shutdown does the close handshake: it sends a
// close frame with a code and a reason, waits for the peer's until its context ends, then closes. It
// returns nil only if the peer's close frame came. Always defer a Close; it does no harm after a
// Shutdown. When the peer closes, its code is sent back and reads return a [*CloseError].
//
// The http.Server forgets a connection when it is upgraded. Upgrader.Group has them all, and
// [Group.Shutdown] with [CloseGoingAway] ends them: see its example.
//
// # Errors
//
// An error that is not one of a wait is permanent: every later call returns it again, at no cost and
// without panic.
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
//	a Group found it too slow            ErrSlowMember                      the same
//	we called Close                      Is net.ErrClosed                   the same
//
// "Is" means [errors.Is]; the other errors come unwrapped. Where a rule was broken, the close frame
// is given up to a second to arrive before the read returns. [IsUnexpectedCloseError] tells an
// ordinary end from one worth a line in the log. [Upgrader.Upgrade] returns a [HandshakeError] after
// it has answered the request, [Dialer.DialContext] returns [ErrBadHandshake] with the response.
//
// # Compression
//
// EnableCompression, in the [Upgrader] or the [Dialer], negotiates permessage-deflate with any window
// size. Then every message of at least [CompressionOptions].Threshold bytes that becomes smaller is sent
// compressed, unless [Conn.EnableWriteCompression] turned that off. To deflate takes up to 1.2 MB,
// depending on the level, and to inflate 80 KB, 110 KB if the message has more than 32 KiB; both come
// from pools and are held only while a message is in work. With ContextTakeover later messages refer
// to earlier ones: several times smaller if they are short and alike, for about 1 MB per connection that
// sends and 32 KiB per connection that receives. In a [Group] all members share one compressor.
//
// The length of a compressed message tells something of its content. Do not compress a secret
// together with text that an attacker chooses.
//
// # Limits
//
// A message may have 64 MiB, counted as received and as inflated; [Conn.SetReadLimit] changes that and
// servers should, to what their messages need. Memory grows with the bytes that came, not with the
// length that was announced. More than 1,000 empty fragments in a row fail the connection. The number
// of connections, and of messages per second, is for the application to limit.
//
// # Held writes
//
// While a whole further frame waits in the read buffer, what is written is held and leaves together:
// when the reader is about to wait, when 16 KiB are held, at Flush, Close and Shutdown, and at the
// latest after WriteDelay, 200 µs by default. With one message in flight nothing is held. Where even
// that is too long, [Conn.Flush] sends at once, and a negative WriteDelay turns holding off.
//
// # Idle connections
//
// A connection that waits for a message has neither a read nor a write buffer of this package: buffers
// are borrowed when bytes arrive, of a size that fits a message like the last one. With TCP and Unix
// sockets on unix that takes no further system call.
// What remains is the Conn, the goroutine that reads, and what TLS keeps. Handlers that stay in the
// loop of messages keep the HTTP request as well; a handler that starts a goroutine for the loop and
// returns gives it up.
//
// # Many connections
//
// [Conn.Handle] has a function called for every message and takes no goroutine: a TCP connection that
// waits then costs about 1.7 KB, with a loop in its own goroutine about 4.4 KB. It pays where there
// are many connections, most of them silent most of the time, and where a message is dealt with soon.
// A function may wait as long as it likes, for its own peer or for others, without delaying other
// connections; but as long as it runs it has a goroutine, so that where most of them wait most of the
// time a loop over [Conn.Messages] costs the same and reads better. For a few hundred connections
// either will do.
//
// Over TLS and other connections that are not plain sockets, and on systems without epoll or kqueue,
// Handle starts a goroutine with the same loop: a program need not care, but saves nothing.
//
// # Origins
//
// Browsers let every page connect to every server and send the user's cookies along. By default
// Upgrade therefore accepts browsers only from pages of its own origin, and clients that send no
// Origin header. List other origins in Upgrader.Origins, as "https://app.example.com" or
// "https://*.example.com", or decide in Upgrader.CheckOrigin. An origin is not an authentication.
//
// # Keep-alive
//
// With [KeepAlive] in the Upgrader or Dialer a connection that has received nothing for Interval gets a
// ping, and fails when Timeout more passes without a byte. Any received byte counts as life, and so does
// a long frame that gets on, as no ping can overtake it. It costs a timer, and someone must be reading.
//
// # Migrating from gorilla/websocket
//
// Change the import path, or replace the module without touching a file:
//
//	go mod edit -replace github.com/gorilla/websocket=<checkout of this module>
//
// Write mutexes, ping goroutines and UTF-8 checks can go, then or later. MIGRATING.md beside this
// file has the table of differences.
package websocket
