import { useEffect, useRef, useState } from 'react'
import type { RunView } from '../run/run-view.ts'
import { play } from './playhead.ts'
import type { Playhead } from './use-playhead.ts'

export const SPEEDS = [1, 4, 16, 64] as const

export type Playback = {
  readonly playing: boolean
  readonly speed: number
  readonly setSpeed: (speed: number) => void
  /** Plays from the record that is shown, or from the beginning if that is the last one. */
  readonly toggle: () => void
  /** Goes to a record, or to the newest for null or any later seq, and pauses. */
  readonly go: (seq: number | null) => void
}

const FRAME_MS = 33

/** Moves the playhead through the run as it happened, but faster, and without its long pauses. */
export function usePlayback(view: RunView, { at, seek }: Playhead): Playback {
  const [playing, setPlaying] = useState(false)
  const [speed, setSpeed] = useState<number>(4)
  const now = useRef({ view, at })
  now.current = { view, at }

  useEffect(() => {
    if (!playing) return
    let spentMs = 0
    let before = performance.now()
    const timer = setInterval(() => {
      const { view, at } = now.current
      const time = performance.now()
      const position = play(view.records, { seq: at ?? 0, spentMs }, time - before, speed)
      before = time
      spentMs = position.spentMs
      const last = view.records.length - 1
      if (position.seq >= last) setPlaying(false)
      if (position.seq !== at) seek(position.seq >= last ? null : position.seq)
    }, FRAME_MS)
    return () => clearInterval(timer)
  }, [playing, speed, seek])

  const toggle = (): void => {
    if (!playing && at === null) seek(0)
    setPlaying(!playing)
  }
  const go = (seq: number | null): void => {
    setPlaying(false)
    seek(seq === null || seq >= view.records.length - 1 ? null : Math.max(0, seq))
  }
  return { playing, speed, setSpeed, toggle, go }
}
