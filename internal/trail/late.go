// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

// loseTakenLocked counts an append as lost that was written or about to be, and as late
// when its line is in the file after all, or remembers that it may be.
func (w *writer) loseTakenLocked(r *request, err error) {
	w.loseLocked(r.event, err)
	switch {
	case r.stays > 0:
		w.gap.addLate(r.stays, r.stays)
	case w.unsure && r.seq > w.safe.chain.seq:
		w.refused = append(w.refused, r.seq)
	}
}

// stayed notes which appends are in the file, up to that sequence, although their
// writes failed. Only those whose callers were told so are late: posted lines and our
// own are not lost, and must not make up for one that is.
func (w *writer) stayed(last uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, seq := range w.refused {
		if seq <= last {
			w.gap.addLate(seq, seq)
		}
	}
	w.refused = nil
	if w.inHand == nil {
		return
	}
	for _, r := range w.inHand.reqs {
		if r.seq > w.safe.chain.seq && r.seq <= last {
			r.stays = r.seq
		}
	}
}
