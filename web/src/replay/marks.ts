import type { RunView } from '../run/run-view.ts'
import { distanceOf } from '../run/verdict.ts'

export type Mark = {
  readonly seq: number
  readonly type: 'achieved' | 'missed' | 'human'
  /** How much of the track's height it takes, 0 to 1. */
  readonly height: number
}

/** The marks of a track, thinned out evenly to the number that it has room for. */
export function marksOf(view: RunView, room: number): Mark[] {
  const worst = Math.max(1, ...thin(view.verdicts, room).map((v) => distanceOf(v)?.failing ?? 0))
  const verdicts = thin(view.verdicts, room).map((verdict): Mark => {
    const { seq, achieved } = verdict
    if (achieved) return { seq, type: 'achieved', height: 1 }
    const failing = distanceOf(verdict)?.failing ?? worst
    return { seq, type: 'missed', height: 0.25 + (0.75 * failing) / worst }
  })
  const humans = thin(view.humanChecks, room).map(
    (seq): Mark => ({ seq, type: 'human', height: 1 }),
  )
  return [...verdicts, ...humans]
}

/** At most `room` items of the list, evenly spread, always with the last one. */
export function thin<T>(list: readonly T[], room: number): readonly T[] {
  if (list.length <= room) return list
  const step = list.length / room
  return Array.from({ length: room }, (_, i) => list[Math.ceil((i + 1) * step) - 1]).filter(
    (item): item is T => item !== undefined,
  )
}
