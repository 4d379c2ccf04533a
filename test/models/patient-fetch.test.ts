import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { patientFetch } from '../../src/models/patient-fetch.ts'

test.each(['101', '101 upgraded', '600', '999'])(
  'an answer with the status %s fails, and nothing else',
  async (answer) => {
    const status = Number.parseInt(answer, 10)
    const headers = answer === '101 upgraded' ? { connection: 'Upgrade', upgrade: 'x' } : {}
    const server = createServer((_, response) => response.writeHead(status, headers).end())
    onTestFinished(() => void server.close())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    await expect(patientFetch(`http://127.0.0.1:${port}`)).rejects.toThrow(`is ${status}`)
  },
)
