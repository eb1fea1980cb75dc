package websocket

import (
	"io"
	"strings"
)

// JoinMessages returns a reader of all messages of c, text and binary, one after the other, each
// followed by term, which may be empty. It ends with the error that ends the reading of c, a
// *CloseError for a normal close as well and never io.EOF. It is not to be used by two goroutines
// at a time.
func JoinMessages(c *Conn, term string) io.Reader {
	return &joinReader{c: c, term: term}
}

type joinReader struct {
	c    *Conn
	term string
	r    io.Reader
}

func (j *joinReader) Read(p []byte) (int, error) {
	if j.r == nil {
		_, r, err := j.c.NextReader()
		if err != nil {
			return 0, err
		}
		if j.term != "" {
			r = io.MultiReader(r, strings.NewReader(j.term))
		}
		j.r = r
	}
	n, err := j.r.Read(p)
	if err == io.EOF {
		err = nil
		j.r = nil
	}
	return n, err
}
