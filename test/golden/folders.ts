import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { createGunzip } from 'node:zlib'
import { unpackTar } from 'modern-tar/fs'
import * as z from 'zod'
import { beginImport, IMPORTS_FOLDER } from '../../src/audit/bundle/import-run.ts'

const GOLDEN = new URL('./', import.meta.url)
const Hash = z.string().regex(/^[0-9a-f]{64}$/)
const Secret = z.strictObject({ name: z.string(), role: z.string(), secret: z.string() })

/** Larger answers are kept by their digest, unless they are read here. */
const LONGEST_ANSWER = 12_000

/** What later versions have added to the details of every run. Nothing that an earlier version gave may change. */
const ADDED_TO_DETAILS = [
  'max_turns_per_iteration',
  'reasoning_effort',
  'max_output_tokens',
  'fallback_models',
  'check',
  'goal_options',
  'all_of',
  'workspace',
  'tags',
] as const
const ADDED_TO_PROGRESS = 'model_name'
const ADDED_TO_ROWS = [
  'cwd',
  'model_name',
  'iteration',
  'max_iterations',
  'total_tokens',
  'estimated_cost_usd',
  'ended_at',
  'title',
  'project',
  'principal',
  'tags',
  'subagents',
  'updated_at',
  'verdict',
] as const

/** An answer as it is kept and compared: without what later versions have added. */
export function keptAnswer(address: string, answer: string): string {
  // The checksum of a line is not a part of its entry.
  if (address.startsWith('/api/ledgers/')) {
    return answer.replace(/^\{"crc32":"[0-9a-f]{8}",/gm, '{')
  }
  if (/^\/api\/runs(?:\?|$)/.test(address)) {
    const rows = JSON.parse(answer)
    for (const row of rows) for (const name of ADDED_TO_ROWS) delete row[name]
    return JSON.stringify(rows)
  }
  const isConversation = address.includes('/conversation')
  const comparable = isConversation ? withFormerTools(answer) : answer
  const text = ABOUT_A_RUN.test(address) ? withoutAdditions(answer) : comparable
  if (text.length <= LONGEST_ANSWER) return text
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

/** Later versions have other tools, and offer them in every conversation. */
function withFormerTools(answer: string): string {
  const conversation = JSON.parse(answer)
  if (!Array.isArray(conversation.tools)) return answer
  const tools = JSON.parse(readFileSync(new URL('tools.json', GOLDEN), 'utf8'))
  return JSON.stringify({ ...conversation, tools })
}

/** The details of a run, now or at a record, and what changed in them. */
const ABOUT_A_RUN = /^\/api\/runs\/[0-9a-f-]{36}(?:\?at=\d+|\/diff\?.*)?$/

function withoutAdditions(answer: string): string {
  const details = JSON.parse(answer)
  for (const name of ADDED_TO_DETAILS) delete details[name]
  delete details.progress?.[ADDED_TO_PROGRESS]
  const isAdded = ({ field }: { field: string }) => field === `progress.${ADDED_TO_PROGRESS}`
  if (Array.isArray(details.changes)) {
    details.changes = details.changes.filter((change: { field: string }) => !isAdded(change))
  }
  return JSON.stringify(details)
}

/** Without what the difference of two records had beside the state and the files that calls name. */
function withoutTakenBack(answers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(answers).map(([address, answer]) => {
      if (!address.includes('/diff?') || !answer.startsWith('{')) return [address, answer]
      const { records: _, commands: __, ...kept } = JSON.parse(answer)
      return [address, JSON.stringify(kept)]
    }),
  )
}

/** What is in a golden data folder, `about.json`. */
export const About = z.strictObject({
  written_by: z.string(),
  /** By how they ended. */
  tokens: z.strictObject({
    admin: Secret,
    viewer: Secret,
    auditor: Secret,
    revoked: Secret,
    expired: Secret,
  }),
  /** Fingerprints of the keys that it has signed with, newest first. */
  keys: z.array(Hash),
  /** By the name of their scenarios; `records` is how many the folder holds. */
  runs: z.record(
    z.string(),
    z.strictObject({ run_id: z.uuid(), records: z.int(), status: z.string() }),
  ),
  /** The request that has created the run `achieved`, to be sent again. */
  idempotent: z.strictObject({ key: z.string(), body: z.looseObject({}) }),
  /** Texts that were redacted, and whole outputs that were deleted with them. */
  redacted: z.strictObject({ texts: z.array(z.string()), artifacts: z.array(Hash) }),
  /** By file name. */
  exports: z.record(
    z.string(),
    z.strictObject({ run: z.string(), complete: z.boolean(), key: Hash }),
  ),
})
export type About = z.infer<typeof About>

/** Answers to GET requests of the admin, by address, as the version that wrote the folder gave them. */
const Answers = z.record(z.string(), z.string())

/** A data folder and exports as a version has left them, and what that version answered about them. */
export type GoldenFolder = {
  readonly name: string
  readonly about: About
  readonly answers: Readonly<Record<string, string>>
  /** Path of an export. */
  readonly exportFile: (name: string) => string
  /** Puts a copy of the data folder there. */
  readonly unpackTo: (folder: string) => Promise<void>
}

/** @param name such as `v0.1.0` */
export const folderUrl = (name: string): URL => new URL(`${name}/`, GOLDEN)

/** Has a server of this data folder leave an unfinished run as it is: to it, the run is still being imported. */
export const leaveAlone = (dataDir: string, runId: string): Promise<void> =>
  beginImport(join(dataDir, IMPORTS_FOLDER), runId)

/** Nothing is written that the folder does not have, so that all of it can be compared. */
export const QUIET = { RETRAI_ACCESS_LOG: 'off', RETRAI_CHECKPOINT_SECONDS: '0' }

/** The folders of all versions that were kept. */
export function goldenFolders(): GoldenFolder[] {
  const names = readdirSync(GOLDEN).filter((name) => /^v\d/.test(name))
  return names.map((name) => {
    const file = (path: string) => fileURLToPath(new URL(path, folderUrl(name)))
    const read = (path: string): unknown => JSON.parse(readFileSync(file(path), 'utf8'))
    return {
      name,
      about: About.parse(read('about.json')),
      answers: withoutTakenBack(Answers.parse(read('answers.json'))),
      exportFile: (path) => file(`exports/${path}`),
      unpackTo: (folder) =>
        pipeline(createReadStream(file('data.tar.gz')), createGunzip(), unpackTar(folder)),
    }
  })
}
