package serve

import "sync"

// Write calls write from o.Writers goroutines at once, o.Writes times from each unless it fails,
// and returns when all have ended, with one of the errors.
func (o Options) Write(write func() error) error {
	var group sync.WaitGroup
	errs := make(chan error, o.Writers)
	for range o.Writers {
		group.Go(func() {
			for range o.Writes {
				if err := write(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}
