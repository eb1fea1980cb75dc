package main

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/tautws/websocket"
)

// otlpProvider returns what sends metrics to the collector that the environment names, as the
// OpenTelemetry specification has it: OTEL_EXPORTER_OTLP_ENDPOINT and so on. It is nil if there is
// none.
func otlpProvider(ctx context.Context) (*sdk.MeterProvider, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") == "" {
		return nil, nil
	}
	exporter, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return nil, err
	}
	return sdk.NewMeterProvider(sdk.WithReader(sdk.NewPeriodicReader(exporter))), nil
}

// otelTrace makes the instruments for connections and returns what feeds them.
func otelTrace(meter metric.Meter) (*websocket.Trace, error) {
	var errs []error
	check := func(err error) { errs = append(errs, err) }
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		check(err)
		return c
	}
	open, err := meter.Int64UpDownCounter("websocket.connections",
		metric.WithUnit("{connection}"), metric.WithDescription("Open connections."))
	check(err)
	closed := counter("websocket.connections.closed", "{connection}", "Connections closed, by close code.")
	messages := counter("websocket.messages", "{message}", "Data messages.")
	sizes := counter("websocket.message.bytes", "By", "Bytes of data messages, uncompressed.")
	wires := counter("websocket.wire.bytes", "By", "Bytes of the frames of data messages, as transferred.")
	pings, err := meter.Float64Histogram("websocket.ping.duration",
		metric.WithUnit("s"), metric.WithDescription("Round-trip times of pings."),
		metric.WithExplicitBucketBoundaries(.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5))
	check(err)

	// Attributes are put together once, so that a message allocates nothing.
	var message [2][2][]metric.AddOption
	var bytes [2][]metric.AddOption
	var total [2]struct{ size, wire atomic.Int64 }
	var observe [2]metric.ObserveOption
	for d, name := range directions {
		direction := attribute.String("websocket.direction", name)
		for t, name := range types {
			set := attribute.NewSet(direction, attribute.String("websocket.message.type", name))
			message[d][t] = []metric.AddOption{metric.WithAttributeSet(set)}
		}
		bytes[d] = []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(direction))}
		observe[d] = metric.WithAttributeSet(attribute.NewSet(direction))
	}
	_, err = meter.Float64ObservableGauge("websocket.compression.ratio",
		metric.WithUnit("1"), metric.WithDescription("Bytes of data messages to a byte transferred, since the start."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			for d := range directions {
				o.Observe(ratio(float64(total[d].size.Load()), float64(total[d].wire.Load())), observe[d])
			}
			return nil
		}))
	check(err)
	ctx := context.Background()
	return &websocket.Trace{
		Opened: func(c *websocket.Conn) { open.Add(ctx, 1) },
		Message: func(c *websocket.Conn, out bool, messageType, size, wire int) {
			d := directionOf(out)
			messages.Add(ctx, 1, message[d][typeOf(messageType)]...)
			sizes.Add(ctx, int64(size), bytes[d]...)
			wires.Add(ctx, int64(wire), bytes[d]...)
			total[d].size.Add(int64(size))
			total[d].wire.Add(int64(wire))
		},
		Ping: func(c *websocket.Conn, rtt time.Duration) { pings.Record(ctx, rtt.Seconds()) },
		Closed: func(c *websocket.Conn, err error) {
			open.Add(ctx, -1)
			closed.Add(ctx, 1, metric.WithAttributes(attribute.String("websocket.close.code", closeCode(err))))
		},
	}, errors.Join(errs...)
}
