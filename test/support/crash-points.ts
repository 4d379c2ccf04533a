import { readFileSync } from 'node:fs'
import { ResultAsync } from 'neverthrow'
import type { Effects } from '../../src/agent/run/effects.ts'
import type { Artifacts } from '../../src/artifacts/artifacts.ts'
import { ALL_KINDS, type Kind } from '../../src/domain/records.ts'
import { CRASH_MOMENTS, type CrashMoment, type RunnerCrash } from '../../src/runner/protocol.ts'
import type { Runner } from '../../src/runner/runner.ts'
import { type EventStore, storeWith } from '../../src/store/event-store.ts'

const EFFECTS = [
  ...(['model', 'tool', 'goal check', 'clean copy', 'project', 'copy', 'carry'] as const),
] as const

/** Of retention. */
const REMOVALS = ['append of run_removed', 'removal of artifact', 'removal of run'] as const

type Step = `append of ${Kind}` | (typeof EFFECTS | typeof REMOVALS)[number]
/** A moment at which a server can be killed: right before or right after it does something. */
export type CrashPoint = `before ${Step}` | `after ${Step}`

/**
 * All crash points. An append is named by every kind of record in it. "After" an append, the records are in the log,
 * and have had no effect yet. "After" an effect, its outcome is not recorded yet.
 */
export const CRASH_POINTS: readonly CrashPoint[] = [
  ...ALL_KINDS.map((kind) => `append of ${kind}` as const),
  ...EFFECTS,
  ...REMOVALS,
].flatMap((step) => [`before ${step}`, `after ${step}`] as const)

/** A moment of the command of a tool at which the process that runs commands is killed or stopped. */
export type RunnerCrashPoint = `runner ${RunnerCrash['how']} ${CrashMoment}`

export const RUNNER_CRASH_POINTS: readonly RunnerCrashPoint[] = CRASH_MOMENTS.flatMap((moment) => [
  `runner killed ${moment}` as const,
  `runner stopped ${moment}` as const,
])
const ALL_POINTS = [...CRASH_POINTS, ...RUNNER_CRASH_POINTS]
type Point = CrashPoint | RunnerCrashPoint

type Crash = { readonly point: Point; readonly time: number }

/**
 * `after append of tool_call#2` is the second time that the server reaches this point; without a number, the first. For the
 * process that runs commands, the number is that of a call of a tool.
 */
function crashNamed(text: string): Crash | undefined {
  const [, name = '', time = '1'] = /^(.*?)(?:#([1-9]\d*))?$/.exec(text) ?? []
  const point = ALL_POINTS.find((known) => known === name)
  return point && { point, time: Number(time) }
}

/**
 * A crash point, or the absolute path of a file that will name one. While it does not, the server does not crash, so it
 * can first work on other runs.
 */
export type CrashAt = Crash | { readonly file: string }

/** @throws Error if the text is neither */
export function crashAt(text: string): CrashAt {
  if (text.startsWith('/')) return { file: text }
  const crash = crashNamed(text)
  if (crash === undefined) throw new Error(`${text} is not one of ${ALL_POINTS.join(', ')}`)
  return crash
}

function crashIn(file: string): Crash | undefined {
  try {
    return crashNamed(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

const crashOf = (at: CrashAt): Crash | undefined => ('file' in at ? crashIn(at.file) : at)

/** Counts how often a point is reached, and kills this process as `kill -9` does at the chosen time. */
function fuse(at: CrashAt): (reached: CrashPoint) => void {
  let times = 0
  return (reached) => {
    const crash = crashOf(at)
    if (reached !== crash?.point) return
    times += 1
    if (times === crash.time) process.kill(process.pid, 'SIGKILL')
  }
}

/** Lets the process that runs commands crash in a call of a tool, if that is the point. */
function runnerFuse(at: CrashAt, runner: Pick<Runner, 'crash'>): () => void {
  let calls = 0
  return () => {
    const crash = crashOf(at)
    const [, how, moment] = /^runner (killed|stopped) (.*)$/.exec(crash?.point ?? '') ?? []
    if (how === undefined) return
    calls += 1
    if (calls === crash?.time) runner.crash({ how, moment } as RunnerCrash)
  }
}

/** The store with the crash points of its appends and removals. */
export function withCrashingAppends(store: EventStore, at: CrashAt): EventStore {
  const reach = fuse(at)
  const { removeStream } = store
  return storeWith(store, {
    ...(removeStream && {
      removeStream: (...call) => {
        reach('before removal of run')
        return removeStream.apply(store, call).andTee(() => reach('after removal of run'))
      },
    }),
    append: (stream, events, options) => {
      const kinds = new Set(events.map(({ type }) => type as Kind | 'run_removed'))
      for (const kind of kinds) reach(`before append of ${kind}`)
      return store.append(stream, events, options).andTee(() => {
        for (const kind of kinds) reach(`after append of ${kind}`)
      })
    },
  })
}

/** The artifacts with the crash points of their removal. */
export function withCrashingRemovals(artifacts: Artifacts, at: CrashAt): Artifacts {
  const reach = fuse(at)
  return {
    put: (content) => artifacts.put(content),
    read: (sha256) => artifacts.read(sha256),
    remove: async (sha256) => {
      reach('before removal of artifact')
      await artifacts.remove(sha256)
      reach('after removal of artifact')
    },
  }
}

/** The effects of the run loop with the crash points around them. */
export function withCrashingEffects(
  effects: Effects,
  at: CrashAt,
  runner: Pick<Runner, 'crash'>,
): Effects {
  const reach = fuse(at)
  const reachCall = runnerFuse(at, runner)
  const { models, toolbox, findGoal, readProject, openCleanCopy, openWorkspace } = effects
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
      execute: (call, context) =>
        around('tool', () => {
          reachCall()
          return toolbox.execute(call, context)
        }),
    },
    openCleanCopy: (asked) =>
      around(asked.folder === undefined ? 'clean copy' : 'copy', () => openCleanCopy(asked)),
    openWorkspace: (project) => {
      const files = openWorkspace(project)
      const ask = files.ask.bind(files) as (
        ...asked: readonly unknown[]
      ) => ReturnType<typeof files.ask>
      const carrying = (...asked: readonly unknown[]) =>
        asked[0] === 'carry' ? around('carry', () => ask(...asked)) : ask(...asked)
      return Object.assign(files, { ask: carrying as typeof files.ask })
    },
    readProject: (...project) => around('project', () => readProject(...project)),
    findGoal: (name) => {
      const goal = findGoal(name)
      return { ...goal, check: (context) => around('goal check', () => goal.check(context)) }
    },
  }
}
