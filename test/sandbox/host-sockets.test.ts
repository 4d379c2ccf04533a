import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmod, chown, mkdir, symlink } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { hostSockets } from '../../src/sandbox/system.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'
import { SYSTEM_FOLDER } from '../support/global-setup.ts'
import { isRoot, OWNERS } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'

const onLinux = test.runIf(process.platform === 'linux')

onLinux('sockets are found by the names that they were bound with', async () => {
  const folder = await temporaryFolder()
  await mkdir(join(folder, 'project/tmp'), { recursive: true })
  const names = ['project/tmp/mysql.sock', 'project/a\n line\n.sock', 'project/last\n']
  for (const name of [...names, 'other.sock', 'project.sock']) {
    const server = createServer().listen(join(folder, name))
    await once(server, 'listening')
    onTestFinished(() => void server.close())
  }
  const found = ['project/a\n line\n.sock', 'project/last\n', 'project/tmp/mysql.sock']
  const listed = hostSockets().filter((path) => path.startsWith(folder))
  const expected = [...found, 'other.sock', 'project.sock'].map((name) => join(folder, name))
  expect(listed).toEqual(expected.toSorted())
})

onLinux('a socket with a relative name is found in the folder of its process', async () => {
  const project = await temporaryFolder()
  await mkdir(join(project, 'deep/er'), { recursive: true })
  const listens =
    "require('node:net').createServer().listen('./own.sock', () => console.log('ready'))"
  const child = spawn(process.execPath, ['-e', listens], { cwd: join(project, 'deep/er') })
  onTestFinished(() => void child.kill())
  await once(child.stdout, 'data')
  expect(hostSockets()).toContain(join(project, 'deep/er/own.sock'))
})

const CONNECT = `for (const path of process.argv.slice(1)) {
  const socket = require('node:net').connect(path)
  socket.on('error', ({ code }) => console.log(code)).on('data', () => console.log('REACHED ' + path))
}`

/** Makes a socket that answers, so that it has a path in the end. */
type Bind = (at: Paths) => Promise<string>
type Paths = { readonly base: string; readonly project: string; readonly tools: string }

const answering = (path: string): Server =>
  createServer((socket) => socket.on('error', () => {}).end('hello')).listen(path)

async function listen(path: string): Promise<void> {
  const server = answering(path)
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  await chmod(path, 0o777)
}

const VEHICLES: Readonly<Record<string, Bind>> = {
  'bound through a link elsewhere': async ({ base, project }) => {
    await symlink(project, join(base, 'link'))
    await listen(join(base, 'link/a.sock'))
    return join(project, 'a.sock')
  },
  'bound through a link in the project': async ({ project }) => {
    await mkdir(join(project, 'real'))
    await symlink('real', join(project, 'inner'))
    await listen(join(project, 'inner/b.sock'))
    return join(project, 'real/b.sock')
  },
  'in the folder of a tool chain': async ({ tools }) => {
    await listen(join(tools, 'e.sock'))
    return join(tools, 'e.sock')
  },
  'in a folder of the system': async () => {
    const path = join(SYSTEM_FOLDER, `${randomUUID()}.sock`)
    if (!isRoot) return path
    await mkdir(SYSTEM_FOLDER, { recursive: true })
    // It stays until all tests have ended: containers of others, which show the folder, too, may be about to cover it.
    await once(answering(path).unref(), 'listening')
    await chmod(path, 0o777)
    return path
  },
}

test.skipIf(isMissing('bwrap')).each(OWNERS)(
  'a command does not reach a socket of the machine (owner of the project: %i)',
  async (owner) => {
    const base = await temporaryFolder()
    await chmod(base, 0o755)
    const [project, tools] = [join(base, 'project'), join(base, 'tools')]
    for (const path of [project, tools]) await mkdir(path)
    await chown(project, owner, owner)
    const { bash } = await isolated('namespaces', { base, toolPaths: [tools] })
    for (const [how, bind] of Object.entries(VEHICLES)) {
      const path = await bind({ base, project, tools })
      const { output } = await bash('', { file: process.execPath, args: ['-e', CONNECT, path] })
      expect(output, how).toMatch(/^(ECONNREFUSED|ENOENT|EACCES|ENOTSOCK)\n$/)
    }
  },
)
