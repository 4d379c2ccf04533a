/** The moment that `#seq=` in an address names; null for none, which is the newest. */
export function seqFromHash(hash: string): number | null {
  const digits = /^#seq=(\d{1,12})$/.exec(hash)?.[1]
  return digits === undefined ? null : Number(digits)
}

export const hashOf = (at: number | null): string => (at === null ? '' : `#seq=${at}`)

/** The position of a replay: at a record, and this many milliseconds of its time on the way to the next. */
export type Position = { readonly seq: number; readonly spentMs: number }

/** A pause in the run is played as at most this, before the speed is taken into account. */
const LONGEST_PAUSE_MS = 4000

/** The position after `elapsedMs` more at the given speed. It stops at the last record. */
export function play(
  records: readonly { readonly ts: number }[],
  from: Position,
  elapsedMs: number,
  speed: number,
): Position {
  let { seq } = from
  let spentMs = from.spentMs + elapsedMs * speed
  for (;;) {
    const here = records[seq]
    const next = records[seq + 1]
    if (here === undefined || next === undefined) return { seq, spentMs: 0 }
    const pause = Math.min(LONGEST_PAUSE_MS, Math.max(0, (next.ts - here.ts) * 1000))
    if (spentMs < pause) return { seq, spentMs }
    spentMs -= pause
    seq += 1
  }
}
