import { appendFileSync, readFileSync } from 'node:fs'
import { ResultAsync } from 'neverthrow'
import type { Effects } from '../../src/agent/run/effects.ts'
import type { Artifacts } from '../../src/artifacts/artifacts.ts'
import { ALL_KINDS, type Kind } from '../../src/domain/records.ts'
import { CRASH_MOMENTS, type CrashMoment, type RunnerCrash } from '../../src/runner/protocol.ts'
import type { Runner } from '../../src/runner/runner.ts'
import { type EventStore, storeWith } from '../../src/store/event-store.ts'

const EFFECTS = ['model', 'tool', 'goal check', 'clean copy', 'project', 'copy', 'carry'] as const

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

type Crash = {
  readonly text: string
  readonly point: Point
  readonly time: number
  /** Only in the run that works in this folder; null: in any. */
  readonly project: string | null
}

/**
 * `after append of tool_call#2 in /project` is the second time that the run in that folder reaches this point; without a number,
 * the first time, and without a folder, that of any run. For the process that runs commands, the number is that of a call of a tool.
 */
function crashNamed(text: string): Crash | undefined {
  const [, name = '', time = '1', project = null] =
    /^(.*?)(?:#([1-9]\d*))?(?: in (\/.*))?$/.exec(text) ?? []
  const point = ALL_POINTS.find((known) => known === name)
  return point && { text, point, time: Number(time), project }
}

/** The crashes in a file, one a line; none while there is no such file. */
function crashesIn(file: string): Crash[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line) => crashNamed(line) ?? [])
  } catch {
    return []
  }
}

const isAbout = (place: string, project: string | null): boolean =>
  project === null || place.includes(project)

/** Where the names of the crashes are that are reached, one a line. */
export const heldFile = (file: string): string => `${file}.held`

/**
 * Holds the work on a run at its crash point, and kills this process as `kill -9` does when all points are reached. So one server can
 * die in the middle of many runs, in each at another point.
 */
export class Fuse {
  readonly #crashes: () => readonly Crash[]
  readonly #hold: (text: string) => void
  readonly #times = new Map<string, number>()
  readonly #held = new Map<string, Crash>()

  /**
   * @param at a crash, or the absolute path of a file that will name some. While it does not, the server does not crash, so
   * it can first work on other runs.
   * @throws Error if the text is neither
   */
  constructor(at: string) {
    const only = crashNamed(at)
    if (!at.startsWith('/') && only === undefined) {
      throw new Error(`${at} is not one of ${ALL_POINTS.join(', ')}`)
    }
    this.#crashes = only === undefined ? () => crashesIn(at) : () => [only]
    this.#hold = only === undefined ? (text) => appendFileSync(heldFile(at), `${text}\n`) : () => {}
  }

  /** @param place has the folder of the run in it @returns what never resolves, if the work must stop here */
  reach(point: CrashPoint, place = ''): Promise<never> | undefined {
    const crashes = this.#crashes()
    const hit = crashes.find((crash) => crash.point === point && this.#counts(crash, place))
    if (hit !== undefined) {
      this.#held.set(hit.text, hit)
      this.#hold(hit.text)
    }
    if (hit !== undefined && crashes.every(({ text }) => this.#held.has(text))) {
      process.kill(process.pid, 'SIGKILL')
    }
    const isOver = [...this.#held.values()].some(({ project }) => isAbout(place, project))
    return isOver ? new Promise(() => {}) : undefined
  }

  /** Whether it must be known in which folder a run works. */
  get hasFolders(): boolean {
    return this.#crashes().some(({ project }) => project !== null)
  }

  /** Lets the process that runs commands crash in a call of a tool, if that is the point. */
  reachCall(runner: Pick<Runner, 'crash'>): void {
    for (const crash of this.#crashes()) {
      const [, how, moment] = /^runner (killed|stopped) (.*)$/.exec(crash.point) ?? []
      if (how !== undefined && this.#counts(crash)) runner.crash({ how, moment } as RunnerCrash)
    }
  }

  /** Whether this is the time of a crash. */
  #counts({ text, time, project }: Crash, place = ''): boolean {
    if (!isAbout(place, project)) return false
    const times = (this.#times.get(text) ?? 0) + 1
    this.#times.set(text, times)
    return times === time
  }
}

/** The first record of a run has its folder. */
async function firstRecord(store: EventStore, stream: string): Promise<string> {
  const read = await store.readStream(stream, { from: 0, direction: 'forward', limit: 1 })
  return read.isOk() ? (read.value[0]?.data ?? '') : ''
}

/** The store with the crash points of its appends and removals. */
export function withCrashingAppends(store: EventStore, fuse: Fuse): EventStore {
  const { removeStream } = store
  const folders = new Map<string, string>()
  const appended = async (...[stream, events, options]: Parameters<EventStore['append']>) => {
    const first = async () => (fuse.hasFolders ? await firstRecord(store, stream) : '')
    const place = folders.get(stream) ?? ((await first()) || (events[0]?.data ?? ''))
    if (fuse.hasFolders) folders.set(stream, place)
    const kinds = new Set(events.map(({ type }) => type as Kind | 'run_removed'))
    for (const kind of kinds) await fuse.reach(`before append of ${kind}`, place)
    const done = await store.append(stream, events, options)
    for (const kind of done.isOk() ? kinds : []) await fuse.reach(`after append of ${kind}`, place)
    return done
  }
  return storeWith(store, {
    ...(removeStream && {
      removeStream: (...call) => {
        void fuse.reach('before removal of run')
        return removeStream.apply(store, call).andTee(() => void fuse.reach('after removal of run'))
      },
    }),
    append: (...call) => new ResultAsync(appended(...call)),
  })
}

/** The artifacts with the crash points of their removal. */
export function withCrashingRemovals(artifacts: Artifacts, fuse: Fuse): Artifacts {
  return {
    put: (content) => artifacts.put(content),
    read: (sha256) => artifacts.read(sha256),
    remove: async (sha256) => {
      await fuse.reach('before removal of artifact')
      await artifacts.remove(sha256)
      await fuse.reach('after removal of artifact')
    },
  }
}

/** The effects of the run loop with the crash points around them. */
export function withCrashingEffects(
  effects: Effects,
  fuse: Fuse,
  runner: Pick<Runner, 'crash'>,
): Effects {
  const { models, toolbox, findGoal, readProject, openCleanCopy, openWorkspace } = effects
  /** The folder of the run of each copy. */
  const originals = new Map<string, string>()
  const around = async <T>(
    effect: (typeof EFFECTS)[number],
    place: string,
    act: () => PromiseLike<T>,
  ) => {
    await fuse.reach(`before ${effect}`, place)
    const outcome = await act()
    await fuse.reach(`after ${effect}`, place)
    return outcome
  }
  return {
    ...effects,
    models: {
      ...models,
      complete: (request, signal, onPart) => {
        const act = () => models.complete(request, signal, onPart)
        return new ResultAsync(around('model', JSON.stringify(request), act))
      },
    },
    toolbox: {
      ...toolbox,
      execute: (call, context) =>
        around('tool', context.cwd, () => {
          fuse.reachCall(runner)
          return toolbox.execute(call, context)
        }),
    },
    openCleanCopy: (asked) => {
      const { folder, project } = asked
      return around(folder === undefined ? 'clean copy' : 'copy', project.cwd, async () => {
        const copy = await openCleanCopy(asked)
        if (copy.isOk()) originals.set(copy.value.cwd, project.cwd)
        return copy
      })
    },
    openWorkspace: (project) => {
      const files = openWorkspace(project)
      const ask = files.ask.bind(files) as (
        ...asked: readonly unknown[]
      ) => ReturnType<typeof files.ask>
      const carrying = (...asked: readonly unknown[]) =>
        asked[0] === 'carry' ? around('carry', project.cwd, () => ask(...asked)) : ask(...asked)
      return Object.assign(files, { ask: carrying as typeof files.ask })
    },
    readProject: (files, signal) => around('project', files.cwd, () => readProject(files, signal)),
    findGoal: (name) => {
      const goal = findGoal(name)
      const check: typeof goal.check = (context) =>
        around('goal check', originals.get(context.config.cwd) ?? context.config.cwd, () =>
          goal.check(context),
        )
      return { ...goal, check }
    },
  }
}
