import type { BadRecord, StoredRecord } from '../../../src/audit/verify/verify-run.ts'
import type { SeqRecord } from '../run/seq-record.ts'
import type { Answer, ProofVerdict, Question } from './protocol.ts'

/** How far the records of a run are verified. */
export type Verification = {
  /** How many are valid: all before the first that is not. */
  readonly verified: number
  readonly bad: BadRecord | null
  /** Why this browser cannot verify; null if it can. */
  readonly failure: string | null
}

const NOTHING_VERIFIED: Verification = { verified: 0, bad: null, failure: null }

/** Records that the worker gets at once, and how many such batches it gets before it must answer. */
const BATCH = 200
const IN_FLIGHT = 2
/** How often the page gets the progress, milliseconds. */
const TELL_MS = 120
/** Pause before the code of the worker is requested again after a failure, milliseconds. */
const RETRY_MS = 3000

const startWorker = (): Worker =>
  new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })

/** Verifies the records of one run, in a worker, while the page shows it. */
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

  /** @param records all that have arrived, including those of earlier calls */
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
      // A worker that failed at its work would fail again.
      if (hasRun) return
      this.#retry = setTimeout(() => {
        this.#state = NOTHING_VERIFIED
        this.#pump()
      }, RETRY_MS)
    }
    return worker
  }

  /** At once if nothing more comes, otherwise from time to time. */
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

  /** A worker that has ended has lost its state. */
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

/** The stored record: everything except what the frame adds. An altered text stays text and is not a record. */
function storedRecord({ seq, id = '', meta, altered, ...data }: SeqRecord): StoredRecord {
  const record = altered === true ? JSON.stringify(data) : data
  return { seq, id, type: data.kind, data: record, metadata: meta }
}

/** Whether a proof is signed by the key that it names. @throws if this browser cannot check it */
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
