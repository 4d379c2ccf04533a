import { setTimeout as delay } from 'node:timers/promises'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import service from '@eventstore/db-client/generated/streams_grpc_pb.js'
import generated from '@eventstore/db-client/generated/streams_pb.js'
import { type ClientWritableStream, credentials } from '@grpc/grpc-js'
import { expect, onTestFinished, test } from 'vitest'
import { type StandIn, startStandIn } from './eventstore-stand-in/index.ts'

const { AppendReq } = generated
type Sending = ClientWritableStream<InstanceType<typeof AppendReq>>

/** Begins an append of two events, and sends one of them. */
async function beginAppend({
  port,
}: StandIn): Promise<{ sending: Sending; failed: Promise<void> }> {
  const client = new service.StreamsClient(`127.0.0.1:${port}`, credentials.createInsecure())
  onTestFinished(() => client.close())
  const failed = Promise.withResolvers<void>()
  const sending = client.append((error) => {
    if (error !== null) failed.resolve()
  })
  const stream = new shared.StreamIdentifier().setStreamName(Buffer.from('run-1'))
  const options = new AppendReq.Options().setStreamIdentifier(stream).setAny(new shared.Empty())
  sending.write(new AppendReq().setOptions(options))
  const id = new shared.UUID().setString('11111111-1111-4111-8111-111111111111')
  const event = new AppendReq.ProposedMessage().setId(id).setData(Buffer.from('{}'))
  await new Promise((resolve) => sending.write(new AppendReq().setProposedMessage(event), resolve))
  // Nothing shows when it has arrived. If it has not, nothing is stored either.
  await delay(100)
  return { sending, failed: failed.promise }
}

test.each([
  ['whose client cancels it', (_: StandIn, sending: Sending) => sending.cancel()],
  ['whose connection breaks', ({ faults }: StandIn) => faults.cutConnections()],
])('the stand-in stores nothing of an append %s while it is sent', async (_, end) => {
  const server = await startStandIn()
  onTestFinished(() => server.stop())
  const { sending, failed } = await beginAppend(server)
  end(server, sending)
  await failed
  await delay(100)
  expect(server.log.all).toEqual([])
})
