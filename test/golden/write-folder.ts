/**
 * Keeps a data folder as the golden folder of this version: `node test/golden/write-folder.ts FOLDER`. In FOLDER are
 * `data`, a data folder of a server that was killed with SIGKILL, `exports` with exports of its runs, and `about.json`. What
 * they must hold is in README.md. A golden folder that is there is never written again, because it represents the version
 * that wrote it. v0.1.0 was written at commit 4d28809, whose `write-folder.ts` also made its runs.
 */
import { createWriteStream, existsSync } from 'node:fs'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { createGzip } from 'node:zlib'
import { packTar } from 'modern-tar/fs'
import * as z from 'zod'
import packageJson from '../../package.json' with { type: 'json' }
import { Site, type SiteServer } from '../support/site.ts'
import { About, folderUrl, keptAnswer, leaveAlone, QUIET } from './folders.ts'

const MTIME = new Date('2026-01-01T00:00:00.000Z')
const Leaf = z.object({ run_id: z.string() })
const Frames = z.array(z.looseObject({ payload: z.looseObject({}) }))

/** What this version answers about the runs and ledgers of a data folder. */
async function answersAbout(server: SiteServer, { runs }: About): Promise<Record<string, string>> {
  const answers: Record<string, string> = {}
  const keep = async (path: string): Promise<string> => {
    const { status, text } = await server.get(path)
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${text}`)
    answers[path] = keptAnswer(path, text)
    return text
  }
  await keep('/api/runs')
  await keep('/api/runs?status=achieved&limit=2')
  for (const { run_id, records, status } of Object.values(runs)) {
    const path = `/api/runs/${run_id}`
    const last = records - 1
    if (status !== 'running') await keep(path)
    await keep(`${path}?at=${last}`)
    await keep(`${path}?at=${Math.floor(last / 2)}`)
    if (status !== 'running') await keep(`${path}/events`)
    const events = await keep(`${path}/events?kinds=all&limit=${records}`)
    await keep(`${path}/events?kinds=all&limit=${records}&meta=true`)
    // That of the last record says by which later one it was answered.
    await keep(`${path}/conversation?at=${status === 'running' ? 2 : last}`)
    await keep(`${path}/diff?from=0&to=${last}`)
    await keep(`${path}/redactions`)
    const results = Frames.parse(JSON.parse(events)).filter(({ payload }) => payload.truncated)
    for (const { payload } of results) {
      const artifact = `${path}/artifacts/${payload.sha256}`
      if ((await server.get(artifact)).status === 200) await keep(artifact)
    }
  }
  const count = Object.values(runs).reduce((sum, { records }) => sum + records, 0)
  await keep(`/api/events?kinds=all&limit=${count}`)
  for (const ledger of ['access', 'redactions', 'tokens']) await keep(`/api/ledgers/${ledger}`)
  for (const path of ['access?limit=1000', 'keys', 'tokens']) await keep(`/api/${path}`)
  await keep('/api/checkpoints?limit=1000')
  const latest = await keep('/api/checkpoints/latest')
  const { number } = z.object({ number: z.int() }).parse(JSON.parse(latest))
  const leaves = await keep(`/api/checkpoints/${number}/runs`)
  for (const line of leaves.trimEnd().split('\n')) {
    await keep(`/api/checkpoints/${number}/runs/${Leaf.parse(JSON.parse(line)).run_id}`)
  }
  return answers
}

/** What this version answers about a copy of the data folder. */
async function recorded(data: string, about: About): Promise<Record<string, string>> {
  const site = await Site.open()
  try {
    await cp(data, site.path('data'), { recursive: true })
    await leaveAlone(site.path('data'), about.runs.unfinished?.run_id ?? '')
    const model = await site.model(() => ({ fault: 'hang' }))
    const token = about.tokens.admin.secret
    const server = await site.serve('data', { model, args: [], env: QUIET, caller: token })
    await server.untilReady()
    return await answersAbout(server, about)
  } finally {
    await site.close()
  }
}

async function pack(from: string, to: string): Promise<void> {
  const plain = { uid: 0, gid: 0, uname: '', gname: '', mtime: MTIME }
  const tar = packTar(from, { map: (header) => ({ ...header, ...plain }) })
  await pipeline(tar, createGzip({ level: 9 }), createWriteStream(to))
}

const [folder = ''] = process.argv.slice(2)
const target = folderUrl(`v${packageJson.version}`)
if (existsSync(target)) throw new Error(`${target.pathname} is there, and stays as it is`)
const about = About.parse(JSON.parse(await readFile(join(folder, 'about.json'), 'utf8')))
const data = join(folder, 'data')
const answers = await recorded(data, about)
const again = await recorded(data, about)
for (const [path, text] of Object.entries(answers)) {
  if (text !== again[path]) throw new Error(`${path}: ${text}\nand then: ${again[path]}`)
}
await mkdir(target)
try {
  await cp(join(folder, 'exports'), new URL('exports', target), { recursive: true })
  await pack(data, fileURLToPath(new URL('data.tar.gz', target)))
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`
  await writeFile(new URL('about.json', target), json(about))
  await writeFile(new URL('answers.json', target), json(answers))
} catch (error) {
  await rm(target, { recursive: true })
  throw error
}
