import fc from 'fast-check'
import * as z from 'zod'
import {
  ALL_KINDS,
  DOCUMENTED_KINDS,
  type Kind,
  type RunRecord,
} from '../../../src/domain/records.ts'
import { ask } from '../../support/requests.ts'
import { RunWriter, type TestServer } from '../../support/server.ts'

const documented: readonly Kind[] = DOCUMENTED_KINDS

const isDocumented = ({ kind }: Pick<RunRecord, 'kind'>): boolean => {
  return documented.includes(kind)
}

/** Kinds as a query names them; null for the documented ones. */
export const kindsInQuery = fc.option(
  fc.oneof(
    fc.constant('all'),
    fc.subarray([...ALL_KINDS], { minLength: 1 }).map((kinds) => kinds.join(',')),
  ),
)

export const isOfKinds = (kinds: string | null, frame: Pick<RunRecord, 'kind'>): boolean =>
  kinds === null ? isDocumented(frame) : kinds === 'all' || kinds.split(',').includes(frame.kind)

/** Records as JSON carries them, with their seq. */
export function framesOf(records: readonly RunRecord[]) {
  return records.map((record, seq) => JSON.parse(JSON.stringify({ ...record, seq })) as Frame)
}
export type Frame = RunRecord & { readonly seq: number }

/** Writes a whole run in one append. */
export async function writeRun(
  { store }: Pick<TestServer, 'store'>,
  runId: string,
  records: readonly RunRecord[],
): Promise<void> {
  const writer = new RunWriter(store, runId)
  for (let at = 0; at < records.length; at += 200) await writer.append(records.slice(at, at + 200))
}

export type Page = {
  readonly status: number
  readonly bytes: number
  readonly frames: readonly Record<string, unknown>[]
  /** Path of the next page. */
  readonly next: string | null
}

/** One JSON page. */
export async function getPage(server: Pick<TestServer, 'url'>, path: string): Promise<Page> {
  const { status, headers, body, text } = await ask<Page['frames']>(server, `GET ${path}`)
  const link = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')
  const bytes = Buffer.byteLength(text)
  return { status, bytes, frames: status === 200 ? body : [], next: link?.[1] ?? null }
}

/** All pages, beginning with one. */
export async function getPages(server: Pick<TestServer, 'url'>, path: string) {
  const frames: Record<string, unknown>[] = []
  const pages: Page[] = []
  for (let next: string | null = path; next !== null; ) {
    const page = await getPage(server, next)
    if (page.status !== 200) throw new Error(`${next} answers ${page.status}`)
    frames.push(...page.frames)
    pages.push(page)
    next = page.next
  }
  return { frames, pages }
}

/** The lines of an NDJSON answer. */
export async function getLines(server: Pick<TestServer, 'url'>, path: string) {
  const accept = { accept: 'application/x-ndjson' }
  const { text } = await ask(server, `GET ${path}`, undefined, accept)
  const lines = text.split('\n').slice(0, -1)
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

const Problem = z.object({ type: z.string(), status: z.int(), detail: z.string() })

/** The problem of a request: the code, the status, the sentence. */
export async function getProblem(
  server: Pick<TestServer, 'url'>,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ readonly code: string; readonly status: number; readonly detail: string }> {
  const { status, headers: answered, body } = await ask(server, `GET ${path}`, undefined, headers)
  if (answered.get('content-type') !== 'application/problem+json') {
    throw new Error(`${path} answers ${status} and no problem`)
  }
  const { type, detail } = Problem.parse(body)
  return { code: type.replace('urn:retrai:problem:', ''), status, detail }
}
