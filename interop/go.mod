module github.com/tautws/websocket/interop

go 1.25

require (
	github.com/gorilla/websocket v1.5.3
	github.com/tautws/websocket v0.0.0-00010101000000-000000000000
)

replace github.com/tautws/websocket => ../
