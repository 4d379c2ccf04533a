/** The model as a process of its own. The model `slow` never answers, `sleep` runs one long command, any other many short ones. */
import { startScriptedModel } from '../../examples/scripted-model/server.ts'

const model = await startScriptedModel({
  record: false,
  script: ({ model, turn }) => {
    if (model.includes('slow')) return { fault: 'hang' }
    const command = model.includes('sleep') ? 'sleep 600' : `: ${turn}`
    return { calls: [{ tool: 'bash_exec', args: { command } }] }
  },
})
process.once('disconnect', () => void model.close())
process.send?.({ url: model.url })
