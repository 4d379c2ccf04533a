import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import * as z from 'zod'
import { ROLES } from '../../src/api/auth.ts'
import { Server } from '../chaos/server-process.ts'
import { type FuzzReport, fuzz, type Identity } from './fuzz.ts'

const ADMIN = 'a-token-for-the-fuzz-of-the-api'
/** Nothing listens there: runs wait for their model until they are aborted. */
const NO_MODEL = 'http://127.0.0.1:9/v1'

const NO_KEY = 'a-key-that-opens-nothing'

/** What an error shows of the output of the server, after the problem. */
const LINES = 20
const LINE_CHARS = 300

/** What commands find. A pytest would look for tests on the whole disk: some runs work in `/`. */
const PROGRAMS = ['bash', 'sh', 'git']

const Secret = z.object({ secret: z.string() })

/** Fuzzes a server process of its own, in a folder of its own. @throws as `fuzz` does */
export async function fuzzServer(
  seed: number,
  isOver: (index: number) => boolean,
): Promise<FuzzReport> {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-fuzz-'))
  const [project, programs] = [join(folder, 'project'), join(folder, 'programs')]
  await mkdir(project)
  await mkdir(programs)
  for (const name of PROGRAMS) await link(name, programs)
  const server = new Server(
    { dataDir: join(folder, 'data'), modelUrl: NO_MODEL, cwd: project },
    { RETRAI_TOKEN: ADMIN, OPENAI_API_KEY: NO_KEY, ANTHROPIC_API_KEY: NO_KEY, PATH: programs },
  )
  try {
    const url = await server.url
    if (url === null) throw new Error('The server does not start.')
    const identities = [
      { name: 'nobody', token: null },
      { name: 'configured', token: ADMIN },
      ...(await Promise.all(ROLES.map((role) => makeToken(url, role)))),
    ]
    return await fuzz({ url, identities, seed, isOver })
  } catch (error) {
    const lines = server.output
      .split('\n')
      .slice(-LINES)
      .map((line) => line.slice(0, LINE_CHARS))
    const problem = error instanceof Error ? error.message : String(error)
    throw new Error([problem, 'The last lines of the server:', ...lines].join('\n'))
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Links to the first program with this name, if there is one. */
async function link(name: string, folder: string): Promise<void> {
  const places = (process.env.PATH ?? '').split(delimiter).map((place) => join(place, name))
  const found = places.find((place) => existsSync(place))
  if (found !== undefined) await symlink(found, join(folder, name))
}

async function makeToken(url: string, role: string): Promise<Identity> {
  const answer = await fetch(`${url}/api/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: `fuzz-${role}`, role }),
  })
  return { name: role, token: Secret.parse(await answer.json()).secret }
}
