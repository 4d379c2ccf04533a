import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { table } from '../support/figures.ts'
import { contender, type Places, startServer } from './beside-opencode.ts'
import { compare } from './compare.ts'
import { must } from './must.ts'
import { runOnRetrai } from './retrai-client.ts'

const AT_ONCE = 8
const ROUNDS = 7
/** How much of the throughput traces may cost. */
const ASKED = 0.02

/** Two servers take turns with the same runs; one exports traces to a collector that accepts everything. */
export async function withTraces({ folder, project, modelUrl }: Places): Promise<string> {
  const collector = createServer((request, response) =>
    request.resume().on('end', () => response.end()),
  )
  await once(collector.listen(0, '127.0.0.1'), 'listening')
  const { port } = collector.address() as AddressInfo
  await using plain = await startServer(join(folder, 'plain'), modelUrl)
  await using traced = await startServer(
    join(folder, 'traced'),
    modelUrl,
    `http://127.0.0.1:${port}`,
  )
  const sides = [plain, traced].map(({ url }) =>
    contender((signal) => runOnRetrai(url, project, { signal }), 20, 4),
  )
  // This round does not count: both load modules and compile code.
  for (const side of await compare(sides, { atOnce: AT_ONCE, rounds: 1 })) must(side)
  const [without, exported] = (await compare(sides, { atOnce: AT_ONCE, rounds: ROUNDS })).map(must)
  collector.closeAllConnections()
  collector.close()
  const [before, after] = [without?.runsPerSecond ?? 0, exported?.runsPerSecond ?? 0]
  const cost = 1 - after / before
  const percent = `${(cost * 100).toFixed(1)} %`
  return table(
    ['runs at once', 'runs/s without', 'runs/s with traces', 'cost', 'asked'],
    [
      [
        String(AT_ONCE),
        before.toFixed(1),
        after.toFixed(1),
        cost <= ASKED ? percent : `**${percent}**`,
        `≤ ${ASKED * 100} %`,
      ],
    ],
  )
}
