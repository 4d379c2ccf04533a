import * as z from 'zod'
import { LedgerName, LedgerProof } from '../../api/audit.ts'
import type { Audit } from '../../audit/audit.ts'
import { AUDIT_PROBLEMS, auditProblem } from '../problems/audit-problem.ts'
import { problems, sendProblem, sendResult } from '../problems/problem.ts'
import { sendStream } from '../send-stream.ts'
import type { ZodApp } from '../zod-app.ts'

const PROOF: LedgerProof = {
  type: 'retrai.ledger-proof.v1',
  ledger: 'access',
  length: 214,
  head: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  signed_at: '2026-02-18T12:05:00.000Z',
  key: '7f0b9b1e1c9a1f4d2f7a3a1c8f5e6d7b8a9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e',
  signature: '0'.repeat(128),
}
const DescribedProof = LedgerProof.meta({ id: 'LedgerProof', examples: [PROOF] })
const DescribedProofs = z.array(DescribedProof).meta({ examples: [[PROOF]] })

/** GET /api/ledgers, /api/ledgers/{name}, /api/access/proof */
export function ledgers(app: ZodApp, audit: Audit): void {
  listLedgers(app, audit)
  readLedger(app, audit)
  proveAccesses(app, audit)
}

function listLedgers(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/ledgers',
    config: { needs: 'access:read' },
    schema: {
      operationId: 'listLedgers',
      tags: ['audit'],
      summary: 'What is kept beside the runs: a signed statement of each ledger',
      description:
        'A ledger is a stream of entries, chained by hashes like the records of a run: who was shown ' +
        'what (`access`), the tokens (`tokens`), what was taken out of runs (`redactions`).',
      response: { 200: DescribedProofs, ...problems(...AUDIT_PROBLEMS) },
    },
    handler: async (request, reply) => {
      const proofs = (await audit.proveLedgers()).map((all) => [...all])
      return sendResult(request, reply, proofs, auditProblem)
    },
  })
}

function readLedger(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/ledgers/:name',
    config: { needs: 'access:read' },
    // It is made as it is sent, so there is nothing to say of it beforehand.
    exposeHeadRoute: false,
    schema: {
      operationId: 'readLedger',
      tags: ['audit'],
      summary: 'All entries of a ledger, in the form in which they can be verified',
      description:
        'Lines as in `records.ndjson` of an export (docs/verification.md). `retrai verify --server URL` ' +
        'compares them with the proof. A stream that breaks off has no proper end.',
      params: z.object({
        name: z.string().meta({ description: 'Name of a ledger', examples: ['access'] }),
      }),
      response: {
        200: {
          description: 'One JSON object a line',
          content: { 'application/x-ndjson': { schema: z.string() } },
        },
        ...problems('not_found', ...AUDIT_PROBLEMS),
      },
    },
    handler: async (request, reply) => {
      const name = LedgerName.safeParse(request.params.name)
      if (!name.success) return sendProblem(request, reply, { code: 'not_found' })
      return sendStream(reply, 'application/x-ndjson', audit.ledgerLines(name.data))
    },
  })
}

function proveAccesses(app: ZodApp, audit: Audit): void {
  app.route({
    method: 'GET',
    url: '/api/access/proof',
    config: { needs: 'access:read' },
    schema: {
      operationId: 'proveAccesses',
      tags: ['audit'],
      summary:
        'A signed statement of how many entries the access log has, and of the hash of the last',
      description:
        'Each hash covers the one before it, so whoever keeps this can tell later whether any entry up ' +
        'to there was changed, dropped or added.',
      response: { 200: DescribedProof, ...problems(...AUDIT_PROBLEMS) },
    },
    handler: async (request, reply) =>
      sendResult(request, reply, audit.proveLedger('access'), auditProblem),
  })
}
