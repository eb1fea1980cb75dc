package main

// Interleaved rounds: A B C, then B C A, then C A B. A round is short, so what slows the machine
// down for a while slows all of them, and a ratio taken within a round holds.

import (
	"errors"
	"fmt"
	"time"
)

// outcome is everything measured in one scenario.
type outcome struct {
	scenario scenario
	lines    []line // in the order of contenders
}

// line is one contender's part of an outcome: a sample for each round.
type line struct {
	contender string
	samples   []sample
}

// samples returns the rounds of the named contender, nil if it took no part.
func (o outcome) samples(name string) []sample {
	for _, l := range o.lines {
		if l.contender == name {
			return l.samples
		}
	}
	return nil
}

// run measures s against each of who, rounds times for d each.
func (h host) run(s scenario, who []contender, rounds int, d time.Duration) (outcome, error) {
	var taking []contender
	for _, c := range who {
		if s.runs(c) {
			taking = append(taking, c)
		}
	}
	o := outcome{scenario: s, lines: make([]line, len(taking))}
	for i, c := range taking {
		o.lines[i].contender = c.name
	}
	var err error
	if s.parked() {
		err = o.census(h, taking)
	} else {
		err = o.measure(h, taking, rounds, d)
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", s.name, err)
	}
	return o, nil
}

// census counts memory, once: thousands of connections are no sample.
func (o *outcome) census(h host, taking []contender) error {
	for i, c := range taking {
		measure := h.measureIdle
		if o.scenario.kind == crowdLoad {
			measure = h.measureCrowd
		}
		m, err := measure(c, o.scenario)
		if err != nil {
			return err
		}
		o.lines[i].samples = []sample{m}
	}
	return nil
}

// measure keeps all servers up, their connections open, and takes turns.
func (o *outcome) measure(h host, taking []contender, rounds int, d time.Duration) (err error) {
	var subjects []*subject
	defer func() {
		for _, sub := range subjects {
			err = errors.Join(err, sub.end())
		}
	}()
	for _, c := range taking {
		sub, err := h.subject(c, o.scenario)
		if err != nil {
			return err
		}
		subjects = append(subjects, sub)
		if _, err := sub.run(d); err != nil {
			return fmt.Errorf("%s: warming up: %w", c.name, err)
		}
	}
	for r := range rounds {
		for i := range subjects {
			n := (i + r) % len(subjects)
			m, err := subjects[n].measure(d)
			if err != nil {
				return err
			}
			o.lines[n].samples = append(o.lines[n].samples, m)
		}
	}
	return nil
}
