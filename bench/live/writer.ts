import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventStore } from '../../src/store/event-store.ts'
import { append, type PreparedAppend } from '../../test/support/append-records.ts'
import { must } from '../loop/must.ts'
import { RunScript } from './records.ts'

/** Records of one append while a run is filled. */
const FILL = 500
/** Appends under way at once while many runs are written. */
const MANY_AT_ONCE = 256

export type Load = { readonly runId: string; readonly appends: number; readonly perAppend: number }
export type Pace = { readonly runId: string; readonly appends: number; readonly everyMs: number }

/** Nanoseconds of a clock that all processes of this machine share. */
export const now = (): number => Number(process.hrtime.bigint())

/** Writes runs as an agent does: each append begins after the previous one is stored. */
export class Writer {
  readonly #store: EventStore
  readonly #stored: (prepared: PreparedAppend) => void
  readonly #scripts = new Map<string, RunScript>()

  /** @param stored called with each append when it is acknowledged */
  constructor(store: EventStore, stored: (prepared: PreparedAppend) => void = () => {}) {
    this.#store = store
    this.#stored = stored
  }

  /** Writes a run of `count` records. @returns its id */
  async fill({ records, ended }: { readonly records: number; readonly ended: boolean }) {
    const runId = randomUUID()
    const script = new RunScript(runId)
    this.#scripts.set(runId, script)
    const open = ended ? records - 1 : records
    for (let done = 0; done < open; done += FILL) {
      await this.#append(script.next(Math.min(FILL, open - done)))
    }
    if (ended) await this.#append(script.end())
    return runId
  }

  /** Writes many short runs that have ended, many at once. @returns the id of the last */
  async fillMany({ runs, records }: { readonly runs: number; readonly records: number }) {
    let left = runs
    let last = ''
    const oneByOne = async (): Promise<void> => {
      while (left > 0) {
        left -= 1
        last = randomUUID()
        const script = new RunScript(last)
        await this.#append(script.next(records - 1))
        await this.#append(script.end())
      }
    }
    await Promise.all(Array.from({ length: MANY_AT_ONCE }, oneByOne))
    return last
  }

  /** Appends as fast as the store can. @returns when it began */
  async burst({ runId, appends, perAppend }: Load): Promise<number> {
    const script = this.#script(runId)
    const prepared = Array.from({ length: appends }, () => script.next(perAppend))
    const start = now()
    for (const each of prepared) await this.#append(each)
    return start
  }

  /** Appends one record at a time, at a steady pace; each holds the time of its append. */
  async trickle({ runId, appends, everyMs }: Pace): Promise<void> {
    const script = this.#script(runId)
    const start = performance.now()
    for (let done = 0; done < appends; done += 1) {
      await sleep(Math.max(0, start + done * everyMs - performance.now()))
      await this.#append(script.stamped(String(now())))
    }
  }

  #script(runId: string): RunScript {
    const script = this.#scripts.get(runId)
    if (script === undefined) throw new Error(`there is no run ${runId}`)
    return script
  }

  async #append(prepared: PreparedAppend): Promise<void> {
    must(await append(this.#store, prepared))
    this.#stored(prepared)
  }
}
