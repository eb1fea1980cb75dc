module github.com/tautws/websocket/interop

go 1.25.0

require (
	github.com/googollee/go-socket.io v1.7.0
	github.com/gorilla/websocket v1.5.3
	github.com/hashicorp/yamux v0.1.2
	github.com/olahol/melody v1.1.4
	github.com/sourcegraph/jsonrpc2 v0.2.3
	github.com/tautws/websocket v0.0.0-00010101000000-000000000000
	golang.org/x/crypto v0.55.0
	golang.org/x/net v0.58.0
)

require golang.org/x/sys v0.47.0 // indirect

replace github.com/tautws/websocket => ../
