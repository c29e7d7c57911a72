// Railway: `railway config plan` shows what this file would change, `railway config apply` changes it.
// See docs/deploy/railway.md.
import { defineRailway, postgres, preserve, project, service } from "railway/iac";

export default defineRailway(() => {
  const database = postgres("Postgres");

  const web = service("hookchain", {
    build: { builder: "DOCKERFILE", dockerfilePath: "Dockerfile" },
    preDeploy: "hookchain migrate",
    start: "hookchain serve",
    healthcheck: "/healthz",
    healthcheckTimeout: 300,
    deploy: { restartPolicyType: "ON_FAILURE", restartPolicyMaxRetries: 10, drainingSeconds: 20 },
    env: {
      DATABASE_URL: database.env.DATABASE_URL,
      LOG_FORMAT: "json",
      // Values that you set in Railway stay there, out of the repository. A variable that this file does not name
      // is deleted by the next apply: add a line for each one that you set.
      HOOKCHAIN_SECRET: preserve(),
      HOOKCHAIN_ADMIN_TOKEN: preserve(),
      HOOKCHAIN_UPSTREAM_URL: preserve(),
      HOOKCHAIN_UPSTREAM_KEY: preserve(),
      HOOKCHAIN_UPSTREAM_DIALECT: preserve(),
      HOOKCHAIN_PUBLIC_URL: preserve(),
    },
  });

  return project("hookchain", { resources: [database, web] });
});
