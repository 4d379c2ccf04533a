import { ok, type Result } from 'neverthrow'
import { sleep } from '../lib/backoff.ts'
import type { Logger } from '../lib/logger.ts'
import { type DamagedRecord, decodeAs } from '../log/codec.ts'
import { emptyStream, type Folded, foldRecord } from '../log/decider.ts'
import type { EventStore, RecordedEvent } from '../store/event-store.ts'
import { TOKEN_LEDGER, type Tokens } from './token-ledger.ts'

const RETRY_MS = 1000

/** The token ledger as far as it was read, kept up to date by a subscription and by what is appended here. */
export class TokenReader {
  readonly #onTokens: (tokens: Tokens) => void
  #loaded: Folded<Tokens> = emptyStream(TOKEN_LEDGER)
  #caughtUp = false

  /** @param onTokens told of all tokens as soon as they are known, and whenever they change */
  constructor(onTokens: (tokens: Tokens) => void) {
    this.#onTokens = onTokens
  }

  get loaded(): Folded<Tokens> {
    return this.#loaded
  }

  /** Takes over a ledger that was read to its end. */
  learn(loaded: Folded<Tokens>): void {
    if (loaded.revision <= this.#loaded.revision) return
    this.#loaded = loaded
    this.caughtUp()
  }

  caughtUp(): void {
    this.#caughtUp = true
    this.#onTokens(this.#loaded.state)
  }

  take(events: readonly RecordedEvent[]): Result<void, DamagedRecord> {
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

/** Reads until `signal` aborts, or until there is an entry that cannot be read, which it resolves to. */
export async function followTokens(
  store: EventStore,
  reader: TokenReader,
  log: Pick<Logger, 'warn'>,
  signal: AbortSignal,
): Promise<DamagedRecord | null> {
  while (!signal.aborted) {
    try {
      const after = reader.loaded.revision
      for await (const item of store.subscribeStream(TOKEN_LEDGER.stream, { after, signal })) {
        if (item.type === 'interrupted') continue
        const taken = item.type === 'events' ? reader.take(item.events) : ok(reader.caughtUp())
        if (taken.isErr()) return taken.error
      }
    } catch (error) {
      log.warn({ err: error }, 'the tokens cannot be followed now, trying again')
    }
    await sleep(RETRY_MS, signal)
  }
  return null
}
