module github.com/gorilla/websocket

go 1.25

require github.com/tautws/websocket v0.0.0-00010101000000-000000000000

replace github.com/tautws/websocket => ../
