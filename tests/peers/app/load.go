package main

import (
	"context"
	"sync"
	"time"
)

// Between a call that failed and the one in its place, as clients do it.
const again = 500 * time.Millisecond

// load is a call that is made over and over, until a test has seen enough.
type load struct {
	stop context.CancelFunc
	done sync.WaitGroup

	lock sync.Mutex
	tally
}

// tally is what came of a load. A call has failed if the one in its place failed, too.
type tally struct {
	Made    int      `json:"made"`
	Retried int      `json:"retried"`
	Failed  []string `json:"failed"`
}

// loads are those that are under way, by the names that tests gave them.
type loads struct {
	lock sync.Mutex
	all  map[string]*load
}

// begin makes a call so many times a second, whatever becomes of those before.
func (l *loads) begin(name string, wanted call, rate int) {
	ctx, stop := context.WithCancel(context.Background())
	begun := &load{stop: stop, tally: tally{Failed: []string{}}}
	l.lock.Lock()
	l.all[name] = begun
	l.lock.Unlock()
	begun.done.Go(func() {
		ticks := time.NewTicker(time.Second / time.Duration(rate))
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				begun.done.Go(func() { begun.once(wanted) })
			}
		}
	})
}

func (l *load) once(wanted call) {
	result := wanted.make()
	retried := !result.well()
	if retried {
		time.Sleep(again)
		result = wanted.make()
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	l.Made++
	if retried {
		l.Retried++
	}
	if !result.well() {
		l.Failed = append(l.Failed, time.Now().Format(time.TimeOnly)+" "+result.Failed+result.Body)
	}
}

// end waits for the calls that are under way.
func (l *loads) end(name string) tally {
	l.lock.Lock()
	ended := l.all[name]
	delete(l.all, name)
	l.lock.Unlock()
	if ended == nil {
		return tally{}
	}
	ended.stop()
	ended.done.Wait()
	return ended.tally
}
