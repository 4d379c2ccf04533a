import { err, ok, type Result } from 'neverthrow'
import type { RunRecord } from '../domain/records.ts'
import { mapStrings } from '../log/commitment.ts'
import { type LoadError, recordPages } from '../log/run-log.ts'
import type { EventStore } from '../store/event-store.ts'
import { isFreeText } from './free-text.ts'

/** A string of a payload, by its RFC 6901 pointer. */
export type Place = { readonly pointer: string; readonly text: string }

/** All strings of a payload, in their order. */
export function stringsOf(payload: object): Place[] {
  const places: Place[] = []
  mapStrings(payload, (text, pointer) => {
    places.push({ pointer, text })
    return text
  })
  return places
}

/** The string at a pointer, or all strings below it. */
export function stringsAt(payload: object, pointer: string): Place[] {
  return stringsOf(payload).filter((place) => {
    return place.pointer === pointer || place.pointer.startsWith(`${pointer}/`)
  })
}

/** Shorter texts are not looked for: they would be found everywhere. */
const SHORTEST = 4

/** The forms that texts may have within other texts: as they are, and escaped as in JSON. */
export function needlesOf(texts: Iterable<string>): readonly string[] {
  const needles = new Set<string>()
  for (const text of texts) {
    if (text.trim().length < SHORTEST) continue
    needles.add(text)
    needles.add(JSON.stringify(text).slice(1, -1))
  }
  return [...needles]
}

export const holdsAny = (text: string, needles: readonly string[]): boolean =>
  needles.some((needle) => text.includes(needle))

/** Where a text is in a run. `redactable` is false for a text that the log needs. */
export type PlaceInRun = {
  readonly seq: number
  readonly pointer: string
  readonly redactable: boolean
}

type Searched = {
  readonly store: EventStore
  /** Whether the artifact of this SHA-256 holds one of the texts. */
  readonly artifactHolds: (sha256: string, texts: readonly string[]) => Promise<boolean>
}

/** Where else in the run one of the texts is, even as a part of another text. */
export async function findElsewhere(
  { store, artifactHolds }: Searched,
  { runId, seq }: { readonly runId: string; readonly seq: number },
  places: readonly Place[],
  needles: readonly string[],
): Promise<Result<PlaceInRun[], LoadError>> {
  const found: PlaceInRun[] = []
  if (needles.length === 0) return ok(found)
  const meant = new Set(places.map(({ pointer }) => pointer))
  for await (const page of recordPages(store, runId)) {
    if (page.isErr()) return err(page.error)
    for (const logged of page.value) {
      for (const pointer of await placesIn(logged.record, needles, artifactHolds)) {
        if (logged.seq === seq && meant.has(pointer)) continue
        const redactable = isFreeText(logged.record.kind, pointer)
        found.push({ seq: logged.seq, pointer, redactable })
      }
    }
  }
  return ok(found)
}

/** An output counts as holding what its artifact holds, because both are redacted together. */
async function placesIn(
  { kind, payload }: RunRecord,
  needles: readonly string[],
  artifactHolds: Searched['artifactHolds'],
): Promise<string[]> {
  const pointers = stringsOf(payload).flatMap(({ pointer, text }) => {
    return holdsAny(text, needles) ? [pointer] : []
  })
  const whole = kind === 'tool_result' ? payload.sha256 : null
  if (whole === null || pointers.includes('/output')) return pointers
  return (await artifactHolds(whole, needles)) ? [...pointers, '/output'] : pointers
}
