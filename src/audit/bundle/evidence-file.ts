import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { ResultAsync } from 'neverthrow'
import { packageFolder } from '../../lib/paths.ts'
import { sha256 } from '../../lib/sha256.ts'
import {
  EXPORT_BEGINS,
  EXPORT_ENDS,
  PAGE_BEGINS,
  PAGE_ENDS,
  type PageCode,
  pageStart,
} from './evidence-page.ts'

/** Makes a page of evidence of an export while that is read. The error is a sentence for people. */
export function evidencePages(): ResultAsync<(archive: Readable) => Readable, string> {
  const file = (name: string) => readFile(join(packageFolder(), 'web/dist', name), 'utf8')
  const built = Promise.all([file('evidence.js'), file('evidence.css')])
  return ResultAsync.fromPromise(built, () => NOT_BUILT).map(([script, style]) => {
    const code = { script, style }
    return (archive) => Readable.from(pageOf(archive, code), { objectMode: false })
  })
}

const NOT_BUILT =
  'The page of evidence is not built: run "npm run build:web" in the folder of retrAI.'

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

/** Who reads the archive stops at its end, so its last bytes come only after the seal was compared. */
const HELD = 8

/**
 * The archive of an export, from its file or from the file of a page, which is held in memory as a browser holds it.
 * @throws after all but the end of the archive was yielded, if the page is not exactly what was sealed
 */
export async function* archiveIn(file: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const chunks = file[Symbol.asyncIterator]()
  const rest = { [Symbol.asyncIterator]: () => chunks }
  let start = Buffer.alloc(0)
  while (start.length < PAGE_BEGINS.length) {
    const { done, value } = await chunks.next()
    if (done) break
    start = Buffer.concat([start, value])
  }
  if (start.toString('latin1', 0, PAGE_BEGINS.length) !== PAGE_BEGINS) {
    yield start
    yield* rest
    return
  }
  const page = Buffer.concat([start, await buffer(rest)])
  const begin = page.indexOf(EXPORT_BEGINS) + EXPORT_BEGINS.length
  if (begin < EXPORT_BEGINS.length) throw new Error('the page has no export in it')
  const found = page.indexOf('<', begin)
  const end = found < 0 ? page.length : found
  const base64 = page.toString('latin1', begin, end)
  const archive = Buffer.from(base64, 'base64')
  yield archive.subarray(0, -HELD)
  if (archive.toString('base64') !== base64) throw new Error('the export in the page was changed')
  const sealed = end + EXPORT_ENDS.length
  if (page.toString('latin1', sealed) !== sha256(page.subarray(0, sealed)) + PAGE_ENDS)
    throw new Error('the page around the export was changed, or its end is missing')
  yield archive.subarray(-HELD)
}
