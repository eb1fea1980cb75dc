package main

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tautws/websocket"
)

// prometheusTrace registers the metrics of connections and returns what feeds them.
func prometheusTrace(reg prometheus.Registerer) *websocket.Trace {
	var (
		open = prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "websocket_connections", Help: "Open connections."})
		opened = prometheus.NewCounter(prometheus.CounterOpts{
			Name: "websocket_connections_opened_total", Help: "Connections opened."})
		closed = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "websocket_connections_closed_total", Help: "Connections closed, by close code."}, []string{"code"})
		messages = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "websocket_messages_total", Help: "Data messages."}, []string{"direction", "type"})
		sizes = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "websocket_message_bytes_total", Help: "Bytes of data messages, uncompressed."}, []string{"direction"})
		wires = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "websocket_wire_bytes_total", Help: "Bytes of the frames of data messages, as transferred."}, []string{"direction"})
		pings = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "websocket_ping_seconds", Help: "Round-trip times of pings.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)})
	)
	reg.MustRegister(open, opened, closed, messages, sizes, wires, pings)

	// A series that exists from the start has a rate from its first event, and a counter that is at
	// hand saves a lookup for every message.
	var message [2][2]prometheus.Counter
	var size, wire [2]prometheus.Counter
	var total [2]struct{ size, wire atomic.Int64 }
	for d, direction := range directions {
		for t, name := range types {
			message[d][t] = messages.WithLabelValues(direction, name)
		}
		size[d], wire[d] = sizes.WithLabelValues(direction), wires.WithLabelValues(direction)
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "websocket_compression_ratio", Help: "Bytes of data messages to a byte transferred, since the start.",
			ConstLabels: prometheus.Labels{"direction": direction},
		}, func() float64 { return ratio(float64(total[d].size.Load()), float64(total[d].wire.Load())) }))
	}
	return &websocket.Trace{
		Opened: func(c *websocket.Conn) {
			open.Inc()
			opened.Inc()
		},
		Message: func(c *websocket.Conn, out bool, messageType, n, onWire int) {
			d := directionOf(out)
			message[d][typeOf(messageType)].Inc()
			size[d].Add(float64(n))
			wire[d].Add(float64(onWire))
			total[d].size.Add(int64(n))
			total[d].wire.Add(int64(onWire))
		},
		Ping: func(c *websocket.Conn, rtt time.Duration) { pings.Observe(rtt.Seconds()) },
		Closed: func(c *websocket.Conn, err error) {
			open.Dec()
			closed.WithLabelValues(closeCode(err)).Inc()
		},
	}
}
