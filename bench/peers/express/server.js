// One process for each core: a Node process runs JavaScript on one.
import cluster from 'node:cluster';
import { availableParallelism } from 'node:os';
import { app } from './app.js';

const workers = Number(process.env.WEB_CONCURRENCY ?? availableParallelism());

if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', (_worker, address) => {
    listening += 1;
    if (listening === workers) {
      console.log(`listening on http://${address.address}:${address.port}`);
    }
  });
  for (let n = 0; n < workers; n += 1) {
    cluster.fork();
  }
} else {
  app.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
}
