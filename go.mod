module github.com/tautws/websocket

go 1.25
