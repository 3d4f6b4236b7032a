// node flowcraft.mjs SHAPE NODES TIMES: prints how many nodes Flowcraft runs per second.
import { FlowRuntime } from 'flowcraft'

const [shape, size, times] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]
const nodes = []
const edges = []
const node = (id) => nodes.push({ id, uses: 'one' })
const edge = (source, target) => edges.push({ source, target })

if (shape === 'chain') {
  for (let n = 0; n < size; n++) {
    node(`n${n}`)
    if (n) edge(`n${n - 1}`, `n${n}`)
  }
} else {
  for (let n = 0; n < size / 4; n++) {
    for (const side of 'abcd') node(`n${n}${side}`)
    edge(`n${n}a`, `n${n}b`)
    edge(`n${n}a`, `n${n}c`)
    edge(`n${n}b`, `n${n}d`)
    edge(`n${n}c`, `n${n}d`)
    if (n) edge(`n${n - 1}d`, `n${n}a`)
  }
}

const blueprint = { id: shape, nodes, edges }
const runtime = new FlowRuntime({ registry: { one: async () => ({ output: 1 }) } })
await runtime.run(blueprint, {})
const started = performance.now()
for (let time = 0; time < times; time++) {
  const result = await runtime.run(blueprint, {})
  if (result.status !== 'completed') throw new Error(result.status)
}
console.log(Math.round((times * nodes.length) / ((performance.now() - started) / 1000)))
