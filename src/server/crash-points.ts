import { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import type { Effects } from '../agent/effects.ts'
import { ALL_KINDS, type Kind } from '../domain/records.ts'
import { type EventStore, storeWith } from '../store/event-store.ts'

const EFFECTS = ['model', 'tool', 'goal check', 'project'] as const

type Deed = `append of ${Kind}` | (typeof EFFECTS)[number]
/** A moment at which a server can be killed: right before or right after it does something. */
export type CrashPoint = `before ${Deed}` | `after ${Deed}`

/**
 * All crash points. An append is named by every kind of record in it. "After" an append, it is in the log, and nothing
 * has followed from it. "After" an effect, its outcome is not recorded yet.
 */
export const CRASH_POINTS: readonly CrashPoint[] = [
  ...ALL_KINDS.map((kind) => `append of ${kind}` as const),
  ...EFFECTS,
].flatMap((deed) => [`before ${deed}`, `after ${deed}`] as const)

const KNOWN: ReadonlyMap<string, CrashPoint> = new Map(CRASH_POINTS.map((point) => [point, point]))

/** `after append of tool_call#2` is the second time that the server reaches this point; without a number, the first. */
export const CrashAt = z.string().transform((text, context) => {
  const [, name = '', time = '1'] = /^(.*?)(?:#([1-9]\d*))?$/.exec(text) ?? []
  const point = KNOWN.get(name)
  if (point !== undefined) return { point, time: Number(time) }
  context.addIssue(`must be one of: ${CRASH_POINTS.join(', ')}; or one of them with #2, #3, …`)
  return z.NEVER
})
export type CrashAt = z.infer<typeof CrashAt>

/** Counts how often a point is reached, and kills this process as `kill -9` does at the chosen time. */
function fuse({ point, time }: CrashAt): (reached: CrashPoint) => void {
  let times = 0
  return (reached) => {
    if (reached !== point) return
    times += 1
    if (times === time) process.kill(process.pid, 'SIGKILL')
  }
}

/** The store with the crash points of its appends; the store itself without `at`. */
export function withCrashingAppends(store: EventStore, at: CrashAt | undefined): EventStore {
  if (at === undefined) return store
  const reach = fuse(at)
  return storeWith(store, {
    append: (stream, events, options) => {
      const kinds = new Set(events.map(({ type }) => type as Kind))
      for (const kind of kinds) reach(`before append of ${kind}`)
      return store.append(stream, events, options).andTee(() => {
        for (const kind of kinds) reach(`after append of ${kind}`)
      })
    },
  })
}

/** The effects of the run loop with the crash points around them; the effects themselves without `at`. */
export function withCrashingEffects(effects: Effects, at: CrashAt | undefined): Effects {
  if (at === undefined) return effects
  const reach = fuse(at)
  const { models, toolbox, findGoal, readProject } = effects
  const around = async <T>(effect: (typeof EFFECTS)[number], act: () => PromiseLike<T>) => {
    reach(`before ${effect}`)
    const outcome = await act()
    reach(`after ${effect}`)
    return outcome
  }
  return {
    ...effects,
    models: {
      ...models,
      complete: (request, signal, onPart) =>
        new ResultAsync(around('model', () => models.complete(request, signal, onPart))),
    },
    toolbox: {
      ...toolbox,
      execute: (call, context) => around('tool', () => toolbox.execute(call, context)),
    },
    readProject: (project, signal) => around('project', () => readProject(project, signal)),
    findGoal: (name) => {
      const goal = findGoal(name)
      if (goal === undefined) return undefined
      return { ...goal, check: (context) => around('goal check', () => goal.check(context)) }
    },
  }
}
