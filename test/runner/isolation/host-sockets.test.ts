import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { hostSockets } from '../../../src/runner/isolation/host-sockets.ts'
import { temporaryFolder } from '../support.ts'

const onLinux = test.runIf(process.platform === 'linux')

onLinux('the sockets in a project are found, and those elsewhere are not', async () => {
  const folder = await temporaryFolder()
  await mkdir(join(folder, 'project/tmp'), { recursive: true })
  const names = ['project/tmp/mysql.sock', 'project/a\n line\n.sock', 'project/last\n']
  for (const name of [...names, 'other.sock', 'project.sock']) {
    const server = createServer().listen(join(folder, name))
    await once(server, 'listening')
    onTestFinished(() => void server.close())
  }
  const found = ['a\n line\n.sock', 'last\n', 'tmp/mysql.sock']
  expect(hostSockets([join(folder, 'project')])).toEqual(found)
})

onLinux('a socket with a relative name is found in the folder of its process', async () => {
  const project = await temporaryFolder()
  await mkdir(join(project, 'deep/er'), { recursive: true })
  const listens =
    "require('node:net').createServer().listen('./own.sock', () => console.log('ready'))"
  const child = spawn(process.execPath, ['-e', listens], { cwd: join(project, 'deep/er') })
  onTestFinished(() => void child.kill())
  await once(child.stdout, 'data')
  expect(hostSockets([project])).toEqual(['deep/er/own.sock'])
})
