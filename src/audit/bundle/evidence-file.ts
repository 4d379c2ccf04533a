import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { jsonOr } from '../../lib/json.ts'
import { packageFolder } from '../../lib/paths.ts'
import {
  EXPORT_BEGINS,
  EXPORT_ENDS,
  PAGE_BEGINS,
  PAGE_ENDS,
  type PageCode,
  pageStart,
} from './evidence-page.ts'

/** `web/dist/evidence.json`: the sources that the code of pages of evidence was built from, and the hash of them all. */
const EvidenceSources = z.object({ paths: z.array(z.string()), sha256: z.string() })

/** The hash of sources as they are in a folder; null if it has none of them, as the package has not. */
export async function hashOfSources(
  folder: string,
  paths: readonly string[],
): Promise<string | null> {
  const read = (path: string) => readFile(join(folder, path), 'base64').catch(() => null)
  const contents = await Promise.all(paths.map(read))
  if (contents.every((content) => content === null)) return null
  return createHash('sha256')
    .update(JSON.stringify([paths, contents]))
    .digest('hex')
}

/** Makes a page of evidence of an export while that is read. The error is a sentence for people. */
export async function evidencePages(): Promise<Result<(archive: Readable) => Readable, string>> {
  const file = (name: string) => readFile(join(packageFolder(), 'web/dist', name), 'utf8')
  const names = ['evidence.js', 'evidence.css', 'evidence.json'] as const
  const built = await Promise.all(names.map(file)).catch(() => null)
  const [script = '', style = '', sources = ''] = built ?? []
  const { data } = EvidenceSources.safeParse(jsonOr(sources, null))
  const now = data && (await hashOfSources(packageFolder(), data.paths))
  // An older verifier would find a good export bad.
  if (data === undefined || (now !== null && now !== data.sha256)) {
    const why = built === null ? 'not built' : 'built from other sources than these'
    return err(`The page of evidence is ${why}: run "npm run build:web" in the folder of retrAI.`)
  }
  return ok((archive) => Readable.from(pageOf(archive, { script, style }), { objectMode: false }))
}

async function* pageOf(archive: Readable, code: PageCode): AsyncGenerator<string> {
  const hash = createHash('sha256')
  const sealed = (text: string): string => {
    hash.update(text)
    return text
  }
  yield sealed(pageStart(code))
  let rest = Buffer.alloc(0)
  for await (const chunk of archive) {
    const bytes = Buffer.concat([rest, chunk])
    const whole = bytes.length - (bytes.length % 3)
    yield sealed(bytes.toString('base64', 0, whole))
    rest = bytes.subarray(whole)
  }
  yield sealed(rest.toString('base64') + EXPORT_ENDS)
  yield hash.digest('hex') + PAGE_ENDS
}

/** What comes before the export in a page is never longer. */
const MAX_START = 8 * 1024 * 1024
/** Who reads the archive stops at its end, so its last bytes come only after the seal was compared. */
const HELD = 8

/**
 * The archive of an export, from its file or from the file of a page.
 * @throws after all but the end of the archive was yielded, if the page is not exactly what was sealed
 */
export async function* archiveIn(file: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const input = new Input(file)
  while (input.text.length < PAGE_BEGINS.length && (await input.more()));
  if (!input.text.startsWith(PAGE_BEGINS)) {
    do yield Buffer.from(input.rest(), 'latin1')
    while (await input.more())
    return
  }
  while (!input.text.includes(EXPORT_BEGINS)) {
    if (input.text.length < MAX_START && (await input.more())) continue
    throw new Error('the page has no export in it')
  }
  input.take(input.text.indexOf(EXPORT_BEGINS) + EXPORT_BEGINS.length)
  let [end, isCanonical, last] = [-1, true, Buffer.alloc(0)]
  do {
    end = input.text.indexOf('<')
    const base64 = input.take(end < 0 ? input.text.length - (input.text.length % 4) : end)
    const bytes = Buffer.from(base64, 'base64')
    isCanonical &&= bytes.toString('base64') === base64
    last = Buffer.concat([last, bytes])
    yield last.subarray(0, -HELD)
    last = last.subarray(-HELD)
  } while (end < 0 && (await input.more()))
  while (await input.more());
  input.take(EXPORT_ENDS.length)
  if (!isCanonical) throw new Error('the export in the page was changed')
  if (input.rest() !== input.sha256() + PAGE_ENDS)
    throw new Error('the page around the export was changed, or its end is missing')
  yield last
}

/** Gives the bytes of chunks in other sizes, each as one character (latin1), and hashes what was taken. */
class Input {
  readonly #chunks: AsyncIterator<Buffer>
  readonly #hash = createHash('sha256')
  text = ''

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** False at the end. */
  async more(): Promise<boolean> {
    const { done, value } = await this.#chunks.next()
    if (!done) this.text += value.toString('latin1')
    return !done
  }

  take(length: number): string {
    const taken = this.text.slice(0, length)
    this.#hash.update(taken, 'latin1')
    this.text = this.text.slice(length)
    return taken
  }

  /** What was not taken yet, which is not hashed. */
  rest(): string {
    const { text } = this
    this.text = ''
    return text
  }

  sha256(): string {
    return this.#hash.digest('hex')
  }
}
