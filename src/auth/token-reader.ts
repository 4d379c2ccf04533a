import { readFile, rename, writeFile } from 'node:fs/promises'
import { ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { type DamagedRecord, decodeAs } from '../log/codec.ts'
import { emptyStream, type Folded, foldRecord } from '../log/decider.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import { TOKEN_LEDGER, Token, type Tokens } from './token-ledger.ts'

const RETRY_MS = 1000

/** The token ledger as far as it was read, kept current by a subscription and by what this server appends. */
export class TokenReader {
  readonly #onTokens: (tokens: Tokens) => void
  #loaded: Folded<Tokens> = emptyStream(TOKEN_LEDGER)
  #caughtUp = false

  /** @param onTokens gets all tokens once they are known, and after each change */
  constructor(onTokens: (tokens: Tokens) => void) {
    this.#onTokens = onTokens
  }

  get loaded(): Folded<Tokens> {
    return this.#loaded
  }

  /** Whether the ledger was read to its end. */
  get caughtUp(): boolean {
    return this.#caughtUp
  }

  /** Takes over a ledger that was read to its end. */
  learn(loaded: Folded<Tokens>): void {
    if (loaded.revision <= this.#loaded.revision) return
    this.#loaded = loaded
    this.#markCaughtUp()
  }

  /** Reads until `signal` aborts. Resolves to the first entry that cannot be read, or to null after the abort. */
  async follow(
    store: EventStore,
    log: Pick<Logger, 'warn'>,
    signal: AbortSignal,
  ): Promise<DamagedRecord | null> {
    while (!signal.aborted) {
      try {
        const options = { after: this.#loaded.revision, signal }
        for await (const item of store.subscribeStream(TOKEN_LEDGER.stream, options)) {
          if (item.type === 'caught_up') this.#markCaughtUp()
          if (item.type !== 'events') continue
          const taken = this.#take(item.events)
          if (taken.isErr()) return taken.error
        }
      } catch (error) {
        log.warn({ err: error }, 'the token ledger cannot be followed now; retrying')
      }
      await sleep(RETRY_MS, signal)
    }
    return null
  }

  #markCaughtUp(): void {
    this.#caughtUp = true
    this.#onTokens(this.#loaded.state)
  }

  #take(events: readonly RecordedEvent[]): Result<void, DamagedRecord> {
    for (const event of events) {
      if (event.revision <= this.#loaded.revision) continue
      const folded = decodeAs(TOKEN_LEDGER.schema, event).andThen((logged) =>
        foldRecord(TOKEN_LEDGER, this.#loaded, logged),
      )
      if (folded.isErr()) return folded.map(() => undefined)
      this.#loaded = folded.value
    }
    if (this.#caughtUp) this.#onTokens(this.#loaded.state)
    return ok()
  }
}

const Kept = z.strictObject({ tokens: z.array(Token) })

/**
 * A file with the tokens, without secrets, as this server saw them last. A server that starts while its store is away
 * uses them, as if it had kept running.
 */
export class KeptTokens {
  readonly #file: string
  #writing: Promise<unknown> = Promise.resolve()

  constructor(file: string) {
    this.#file = file
  }

  /** Null if the file cannot be read. */
  async read(): Promise<Tokens | null> {
    try {
      const { tokens } = Kept.parse(JSON.parse(await readFile(this.#file, 'utf8')))
      return new Map(tokens.map((token) => [token.id, token]))
    } catch {
      return null
    }
  }

  /** Writes follow one another. The error is a text for people. */
  write(tokens: Tokens): ResultAsync<void, string> {
    const kept: z.infer<typeof Kept> = { tokens: [...tokens.values()] }
    const partial = `${this.#file}.new`
    const written = this.#writing.then(async () => {
      await writeFile(partial, JSON.stringify(kept), { mode: 0o600 })
      await rename(partial, this.#file)
    })
    this.#writing = written.catch(() => {})
    return ResultAsync.fromPromise(written, String)
  }
}
