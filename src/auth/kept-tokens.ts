import { readFile, rename, writeFile } from 'node:fs/promises'
import { ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { Token, type Tokens } from './token-ledger.ts'

const Kept = z.strictObject({ tokens: z.array(Token) })

/**
 * The tokens as this server saw them last, without secrets: what it goes by when it is started while its
 * store is away, as it would if it had gone on running.
 */
export class KeptTokens {
  readonly #file: string
  #writing: Promise<unknown> = Promise.resolve()

  constructor(file: string) {
    this.#file = file
  }

  /** Null where there are none that can be read. */
  async read(): Promise<Tokens | null> {
    try {
      const { tokens } = Kept.parse(JSON.parse(await readFile(this.#file, 'utf8')))
      return new Map(tokens.map((token) => [token.id, token]))
    } catch {
      return null
    }
  }

  /** One after the other. The error is a text for people. */
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
