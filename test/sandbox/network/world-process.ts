import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Notice } from '../../../src/domain/records.ts'
import { isolatedServer } from '../../support/isolated-server.ts'

/**
 * Plays the server in the world of `world.ts`: its API listens on port 8000 of every address of the machine. Prints the
 * outcome of each script as one line of JSON. Arguments: the owner of the project, and the scripts.
 */
const [owner = '0', text = ''] = process.argv.slice(2)
const scripts: Record<string, { network: 'none'; script: string }> = JSON.parse(text)
const api = createServer((socket) => socket.on('error', () => {}).end('CANARY_API'))
api.listen(8000, '::')
await once(api, 'listening')

const base = await realpath(await mkdtemp(join(tmpdir(), 'retrai-world-')))
await chmod(base, 0o755)
const [dataDir, project] = [join(base, 'data'), join(base, 'project')]
await mkdir(dataDir, { mode: 0o700 })
await mkdir(project)
await chown(project, Number(owner), Number(owner))
const { runner, run } = await isolatedServer('namespaces', dataDir)
const outcomes: Record<string, unknown> = {}
for (const [name, { network, script }] of Object.entries(scripts)) {
  const notices: Notice[] = []
  const { output } = await run({
    file: 'bash',
    args: ['-c', script],
    cwd: project,
    timeoutMs: 60_000,
    network,
    onNotice: (notice) => void notices.push(notice),
    signal: new AbortController().signal,
  })
  outcomes[name] = { output, notices }
}
runner.close()
api.close()
await rm(base, { recursive: true, force: true, maxRetries: 5 })
console.log(JSON.stringify(outcomes))
