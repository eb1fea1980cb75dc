//go:build !go1.27

package deflate

// TakeoverLevel is the fastest level that finds matches in earlier messages, short ones included.
// Level 1 of compress/flate finds next to none.
const TakeoverLevel = 2
