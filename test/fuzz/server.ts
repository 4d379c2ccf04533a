import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod'
import { ROLES } from '../../src/api/roles.ts'
import { Server } from '../chaos/server-process.ts'
import { type FuzzReport, fuzz, type Identity } from './fuzz.ts'

const ADMIN = 'a-token-for-the-fuzz-of-the-api'
/** Nobody listens there: runs wait for their model until they are aborted. */
const NO_MODEL = 'http://127.0.0.1:9/v1'

const NO_KEY = 'a-key-that-opens-nothing'

const Secret = z.object({ secret: z.string() })

/** Fuzzes a server process of its own, in a folder of its own. @throws as `fuzz` does */
export async function fuzzServer(
  seed: number,
  isOver: (index: number) => boolean,
): Promise<FuzzReport> {
  const folder = await mkdtemp(join(tmpdir(), 'retrai-fuzz-'))
  const server = new Server(
    { dataDir: join(folder, 'data'), modelUrl: NO_MODEL },
    { RETRAI_TOKEN: ADMIN, OPENAI_API_KEY: NO_KEY, ANTHROPIC_API_KEY: NO_KEY },
  )
  try {
    const url = await server.url
    if (url === null || server.pid === undefined) throw new Error(`no server: ${server.output}`)
    const identities = [
      { name: 'nobody', token: null },
      { name: 'configured', token: ADMIN },
      ...(await Promise.all(ROLES.map((role) => makeToken(url, role)))),
    ]
    return await fuzz({ url, pid: server.pid, identities, seed, isOver })
  } catch (error) {
    throw new Error(`${String(error)}\n${server.output}`)
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function makeToken(url: string, role: string): Promise<Identity> {
  const answer = await fetch(`${url}/api/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: `fuzz-${role}`, role }),
  })
  return { name: role, token: Secret.parse(await answer.json()).secret }
}
