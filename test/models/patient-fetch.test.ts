import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { patientFetch } from '../../src/models/patient-fetch.ts'

test.each([101, 600, 999])(
  'an answer with the status %i fails, and nothing else',
  async (status) => {
    const server = createServer((_, response) => response.writeHead(status).end())
    onTestFinished(() => void server.close())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    await expect(patientFetch(`http://127.0.0.1:${port}`)).rejects.toThrow(`is ${status}`)
  },
)
