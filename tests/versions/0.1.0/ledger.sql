PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE epochs (
    order_id TEXT NOT NULL, epoch INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (order_id, epoch)
) WITHOUT ROWID;
INSERT INTO "epochs" VALUES('demo.1.tilted-camera.1',0,'{"epoch":0,"train_loss":null,"scores":{"samples":61,"loss":4.436611652374268,"accuracy":0.32786885245901637,"recall":0.2727272727272727},"seconds":0.029542288000811823}');
INSERT INTO "epochs" VALUES('demo.1.tilted-camera.1',1,'{"epoch":1,"train_loss":1.6792138897058533,"scores":{"samples":61,"loss":0.5013647675514221,"accuracy":0.9016393442622951,"recall":0.6727272727272727},"seconds":0.34909416700065776}');
INSERT INTO "epochs" VALUES('demo.1.tilted-camera.1',2,'{"epoch":2,"train_loss":0.38516644136173517,"scores":{"samples":61,"loss":0.3153661787509918,"accuracy":0.9016393442622951,"recall":0.7636363636363637},"seconds":0.20068933600123273}');
INSERT INTO "epochs" VALUES('demo.2.tilted-camera.1',0,'{"epoch":0,"train_loss":null,"scores":{"samples":61,"loss":1.0027549266815186,"accuracy":0.5737704918032787,"recall":0.403030303030303},"seconds":0.0026786050002556294}');
INSERT INTO "epochs" VALUES('demo.2.tilted-camera.1',1,'{"epoch":1,"train_loss":0.6886816947596279,"scores":{"samples":61,"loss":0.373754620552063,"accuracy":0.8852459016393442,"recall":0.4818181818181818},"seconds":0.28223693699874275}');
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "facts" VALUES('edge','tilted-camera');
INSERT INTO "facts" VALUES('generation','1795771124');
INSERT INTO "facts" VALUES('incarnation','2626498b6d3c45929fe4ef86af4271d0');
INSERT INTO "facts" VALUES('starts','1');
CREATE TABLE models (
    order_id TEXT PRIMARY KEY, path TEXT, sha256 TEXT NOT NULL, size INTEGER NOT NULL, samples INTEGER NOT NULL,
    accuracy REAL NOT NULL, recall REAL NOT NULL, loss REAL NOT NULL, target_met INTEGER NOT NULL, created_at TEXT NOT NULL
) WITHOUT ROWID
;
INSERT INTO "models" VALUES('demo.1.tilted-camera.1','/cloudedge-home/edges/tilted-camera/trained/demo.1.tilted-camera.1/digits.safetensors','0e3eea01891b1fdbde41c5b186b5f3ca70b4be03cd048e4697e93ab1e6af8b08',87232,254,9.01639344262295083787e-01,7.63636363636363668661e-01,3.15366178750991821289e-01,1,'2026-11-27T09:18:44+00:00');
CREATE TABLE orders (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    phase TEXT NOT NULL,
    boot TEXT NOT NULL, up REAL NOT NULL, wall REAL NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    samples INTEGER NOT NULL DEFAULT 0,
    recollections INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    closed INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "orders" VALUES(1,'demo.1.tilted-camera.1','{"schema_version":1,"id":"demo.1.tilted-camera.1","kind":"train","state":"run","run":"demo","round":1,"edge":"tilted-camera","attempt":1,"issued_at":"2026-11-27T09:18:43.500584Z","time_limit_seconds":120.0,"model":{"architecture":"convnet","parameters":{"channels":[32,64]}},"inputs":{"base":{"url":"file:///cloudedge-home/store/runs/demo/pretrained/model.safetensors","sha256":"29577c19cb38f5b8a94a2e7ee28c817ffe0bbb31c040fe2e9c1a8abeecd5d7ba","size":87088}},"model_file_name":"digits.safetensors","data":{"storage":"npz","fields":[{"name":"image","shape":[1,8,8],"dtype":"uint8","scale":0.00392156862745098,"offset":0.0}],"label":"label","classes":["0","1","2","3","4","5","6","7","8","9"],"held_out":0.2},"training":{"epochs":2,"batch_size":8,"learning_rate":0.02,"optimizer":"momentum","weight_decay":0.001,"loss":"cross-entropy","proximal":0.0,"target_accuracy":0.0,"threads":1},"recollection":{"most":0,"wait_seconds":60.0},"seed":0,"report":{"url":"file:///cloudedge-home/store/runs/demo/rounds/000001/reports/tilted-camera-1.json","headers":{},"max_bytes":4194304,"once":false},"result":{"url":"file:///cloudedge-home/store/runs/demo/rounds/000001/results/tilted-camera-1/model.safetensors","headers":{},"max_bytes":1135664,"once":true},"manifest":{"url":"file:///cloudedge-home/store/runs/demo/rounds/000001/results/tilted-camera-1/manifest.json","headers":{},"max_bytes":4194304,"once":true}}','done','2aa9d344-9a19-42be-835d-e4d35538cc6b',12138.136883927,1.79577112351976776122e+09,0,254,0,NULL,1);
INSERT INTO "orders" VALUES(2,'demo.2.tilted-camera.1','{"schema_version":1,"id":"demo.2.tilted-camera.1","kind":"train","state":"run","run":"demo","round":2,"edge":"tilted-camera","attempt":1,"issued_at":"2026-11-27T09:18:44.711079Z","time_limit_seconds":120.0,"model":{"architecture":"convnet","parameters":{"channels":[32,64]}},"inputs":{"base":{"url":"file:///cloudedge-home/store/runs/demo/rounds/000001/fused.safetensors","sha256":"279fdb28f63fa63b985d316a0478aec4cc069805f1fbbaca9e9b56b0ccdb54bd","size":87088}},"model_file_name":"digits.safetensors","data":{"storage":"npz","fields":[{"name":"image","shape":[1,8,8],"dtype":"uint8","scale":0.00392156862745098,"offset":0.0}],"label":"label","classes":["0","1","2","3","4","5","6","7","8","9"],"held_out":0.2},"training":{"epochs":2,"batch_size":8,"learning_rate":0.02,"optimizer":"momentum","weight_decay":0.001,"loss":"cross-entropy","proximal":0.0,"target_accuracy":0.0,"threads":1},"recollection":{"most":0,"wait_seconds":60.0},"seed":0,"report":{"url":"file:///cloudedge-home/store/runs/demo/rounds/000002/reports/tilted-camera-1.json","headers":{},"max_bytes":4194304,"once":false},"result":{"url":"file:///cloudedge-home/store/runs/demo/rounds/000002/results/tilted-camera-1/model.safetensors","headers":{},"max_bytes":1135664,"once":true},"manifest":{"url":"file:///cloudedge-home/store/runs/demo/rounds/000002/results/tilted-camera-1/manifest.json","headers":{},"max_bytes":4194304,"once":true}}','training','2aa9d344-9a19-42be-835d-e4d35538cc6b',12139.338067654,1.79577112472095179558e+09,0,254,0,NULL,0);
CREATE TABLE uploads (
    position INTEGER PRIMARY KEY, order_id TEXT NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, trouble TEXT, UNIQUE (order_id, name)
);
COMMIT;
