import type { BadRecord, StoredRecord } from '../../../src/audit/verify/verify-run.ts'
import type { SeqRecord } from '../run/seq-record.ts'
import type { Answer, ProofVerdict, Question } from './protocol.ts'

/** How far the records of a run are verified. */
export type Verification = {
  /** How many are valid: all before the first that is not. */
  readonly verified: number
  readonly bad: BadRecord | null
  /** Why this browser cannot verify; null where it can. */
  readonly failure: string | null
}

const NOTHING_VERIFIED: Verification = { verified: 0, bad: null, failure: null }

/** Records that the worker is given at once, and how many times that before it has answered. */
const BATCH = 200
const IN_FLIGHT = 2
/** How often the page gets the progress, milliseconds. */
const TELL_MS = 120
/** Pause before the code of the worker is asked for again, where it could not be had, milliseconds. */
const RETRY_MS = 3000

const startWorker = (): Worker =>
  new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })

/** Verifies the records of one run, in a worker, while somebody looks. */
export class Verifier {
  readonly #runId: string
  readonly #listeners = new Set<() => void>()
  #worker: Worker | null = null
  #records: readonly SeqRecord[] = []
  #sent = 0
  #inFlight = 0
  #state = NOTHING_VERIFIED
  #told = NOTHING_VERIFIED
  #timer: ReturnType<typeof setTimeout> | undefined
  #retry: ReturnType<typeof setTimeout> | undefined

  constructor(runId: string) {
    this.#runId = runId
  }

  readonly getSnapshot = (): Verification => this.#told

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#stop()
    }
  }

  /** @param records all that have arrived, those of before among them */
  feed(records: readonly SeqRecord[]): void {
    this.#records = records
    this.#pump()
  }

  #pump(): void {
    const { bad, failure } = this.#state
    if (bad !== null || failure !== null) return
    while (this.#inFlight < IN_FLIGHT && this.#sent < this.#records.length) {
      const records = this.#records.slice(this.#sent, this.#sent + BATCH)
      this.#sent += records.length
      this.#inFlight += 1
      this.#worker ??= this.#start()
      ask(this.#worker, { type: 'records', runId: this.#runId, records: records.map(storedRecord) })
    }
  }

  #start(): Worker {
    const worker = startWorker()
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (data.type !== 'progress') return
      const { verified, bad } = data
      this.#inFlight -= 1
      this.#state = { ...this.#state, verified, bad }
      this.#pump()
      this.#tellSoon()
    }
    worker.onerror = ({ message }) => {
      const hasRun = this.#state.verified > 0
      this.#forget()
      this.#state = { ...NOTHING_VERIFIED, failure: failureOf(message) }
      this.#tell()
      // What failed at its work would fail again.
      if (hasRun) return
      this.#retry = setTimeout(() => {
        this.#state = NOTHING_VERIFIED
        this.#pump()
      }, RETRY_MS)
    }
    return worker
  }

  /** At once where there is nothing more to come, else now and then. */
  #tellSoon(): void {
    if (this.#inFlight > 0) {
      this.#timer ??= setTimeout(() => this.#tell(), TELL_MS)
    } else {
      this.#tell()
    }
  }

  #tell(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#told = this.#state
    for (const listener of this.#listeners) listener()
  }

  #stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#forget()
    this.#state = NOTHING_VERIFIED
    this.#told = NOTHING_VERIFIED
  }

  /** A worker that is gone has taken with it what it knew. */
  #forget(): void {
    clearTimeout(this.#retry)
    this.#worker?.terminate()
    this.#worker = null
    this.#sent = 0
    this.#inFlight = 0
  }
}

const ask = (worker: Worker, question: Question): void => worker.postMessage(question)

const failureOf = (message: string | undefined): string =>
  message === undefined || message === '' ? 'The code that verifies could not be loaded.' : message

/** What was stored: everything but what the frame has added to it. Altered text stays text, and no record. */
function storedRecord({ seq, id = '', meta, altered, ...data }: SeqRecord): StoredRecord {
  const record = altered === true ? JSON.stringify(data) : data
  return { seq, id, type: data.kind, data: record, metadata: meta }
}

/** Whether a proof is signed as it says, by itself. @throws where this browser cannot tell */
export function checkProof(proof: unknown, keys: unknown): Promise<ProofVerdict> {
  const worker = startWorker()
  const verdict = new Promise<ProofVerdict>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (data.type === 'proof') resolve(data.verdict)
    }
    worker.onerror = ({ message }) => reject(new Error(failureOf(message)))
  })
  ask(worker, { type: 'proof', proof, keys })
  return verdict.finally(() => worker.terminate())
}
