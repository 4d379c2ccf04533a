/** The model as a process of its own. The model `slow` never answers, `sleep` and `busy` run one long command, any other many short ones. */
import { startScriptedModel } from '../../examples/scripted-model/server.ts'

const LONG = { sleep: 'sleep 600', busy: 'while :; do :; done' }

const model = await startScriptedModel({
  record: false,
  script: ({ model, turn }) => {
    if (model.includes('slow')) return { fault: 'hang' }
    const long = Object.entries(LONG).find(([name]) => model.includes(name))?.[1]
    const command = long ?? `: ${turn}`
    return { calls: [{ tool: 'bash_exec', args: { command } }] }
  },
})
process.once('disconnect', () => void model.close())
process.send?.({ url: model.url })
