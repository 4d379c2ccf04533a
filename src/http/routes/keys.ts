import * as z from 'zod'
import { PublishedKeys } from '../../api/audit.ts'
import type { Audit } from '../../audit/audit.ts'
import { auditProblem } from '../problems/audit-problem.ts'
import { problems, sendResult } from '../problems/problem.ts'
import type { ZodApp } from '../zod-app.ts'

const Query = z.object({
  all: z
    .enum(['true', 'false'])
    .default('false')
    .describe('`true`: also the keys that other servers have published in the log, after its own'),
})

const DescribedKeys = PublishedKeys.meta({
  examples: [
    {
      keys: [
        {
          fingerprint: '7f0b9b1e1c9a1f4d2f7a3a1c8f5e6d7b8a9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e',
          public_key:
            '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n',
          created: '2026-02-18T12:00:00.000Z',
          retired: null,
        },
      ],
    },
  ],
})

/** GET /api/keys */
export function keys(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/keys',
    config: { needs: 'runs:verify' },
    schema: {
      operationId: 'listKeys',
      tags: ['audit'],
      summary: 'The public keys that this server signs with, newest first',
      description:
        'Keep the fingerprints somewhere else: they are what a proof or an export is checked against. ' +
        'Keys that were replaced stay listed, and what they have signed stays good. Servers that share a log ' +
        'publish their keys in it, with their checkpoints: `all=true` lists these too.',
      querystring: Query,
      response: { 200: DescribedKeys, ...problems('keys_unusable') },
    },
    handler: async (request, reply) =>
      sendResult(request, reply, audit.keys(request.query.all === 'true'), auditProblem),
  })
}
