//go:build go1.27

package deflate

// TakeoverLevel is the fastest level that finds matches in earlier messages, short ones included.
// From Go 1.27 on, levels 1 to 6 of compress/flate write a message of less than 128 bytes without
// looking for matches, and forget all earlier ones at that. Level 7 takes about as long as level 2
// did.
const TakeoverLevel = 7
